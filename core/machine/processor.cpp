#include "core/machine/processor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "devices/local_apic_page.hpp"
#include "jit/interp/reset.hpp"
#include "jit/trace.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/x64/translator.hpp"
#endif

namespace doppel::machine {

namespace {

#ifdef DOPPEL_TRANSLATOR_X64
// Command-line names of the translator's switches.
constexpr std::pair<const char*, bool jit::x64::Optimisations::*> kOptimisations[] = {
    {"native-integer", &jit::x64::Optimisations::native_integer},
    {"native-vector", &jit::x64::Optimisations::native_vector},
    {"native-x87", &jit::x64::Optimisations::native_x87},
    {"flag-liveness", &jit::x64::Optimisations::flag_liveness},
    {"chaining", &jit::x64::Optimisations::chaining},
    {"shared-checks", &jit::x64::Optimisations::shared_checks},
    {"inline-lookup", &jit::x64::Optimisations::inline_lookup},
    {"long-blocks", &jit::x64::Optimisations::long_blocks},
    {"jump-cache", &jit::x64::Optimisations::jump_cache}};

jit::x64::TranslationReport translation_report(const MachineConfig& config) {
  jit::x64::TranslationReport report;
  report.dump_blocks(config.dump_blocks);
  try {
    if (config.perf_map) report.open_perf_map();
  } catch (const std::system_error& error) {
    throw ConfigError(fmt::format("{}; --perf-map needs that file.", error.what()));
  }
  return report;
}

bool may_run_directly(const MachineConfig& config) {
  if (config.engine != Engine::kTranslator || config.trace) return false;
  if (config.direct != Direct::kAuto) return config.direct == Direct::kOn;
  return jit::direct::DirectRunner::suits(config.cpu);
}
#endif

core::CpuModel model_of(const MachineConfig& config, u32 index) {
  core::CpuModel model = config.cpu;
  model.cpus = config.processors.cores * config.processors.threads;
  model.threads = config.processors.threads;
  model.apic_id = index;
  return model;
}

}  // namespace

std::vector<std::string> optimisation_names() {
  std::vector<std::string> names;
#ifdef DOPPEL_TRANSLATOR_X64
  for (const auto& [name, member] : kOptimisations) names.emplace_back(name);
#endif
  return names;
}

Processor::Processor(u32 index, const MachineConfig& config, PcBoard& board, core::Counters& counters,
                     SharedByProcessors& shared)
    : index_(index),
      board_(board),
      model_(model_of(config, index)),
      memory_(model_, board.memory, board.ports, board.local_apic(index), board.clock, counters),
      dispatcher_(*memory_, shared.blocks),
      directed_yield_(shared.directed_yield) {
  backend_ = choose_engine(config, shared);
  dispatcher_.set_backend(backend_.get());
  if (config.processors.cpus > 1)
    member_ =
        &shared.coherence.join(*memory_, dispatcher_.blocks(), [this] { wake(core::kPendingCoherence); });
}

// nullptr: the interpreter alone.
std::unique_ptr<jit::Backend> Processor::choose_engine([[maybe_unused]] const MachineConfig& config,
                                                       [[maybe_unused]] SharedByProcessors& shared) {
  std::unique_ptr<jit::Backend> chosen;
#ifdef DOPPEL_TRANSLATOR_X64
  if (config.engine != Engine::kInterpreter) {
    jit::x64::Optimisations optimisations;
    for (const auto& [name, member] : kOptimisations)
      if (std::find(config.optimisations_off.begin(), config.optimisations_off.end(), name) !=
          config.optimisations_off.end())
        optimisations.*member = false;
    // Whoever looks at single blocks wants each of them to come back.
    if (config.trace || config.engine == Engine::kVerify)
      optimisations.chaining = optimisations.jump_cache = false;
    if (config.engine == Engine::kVerify) optimisations.hot_runs = 0;
    if (!shared.translations)
      shared.translations = jit::x64::Translator::make_translations(model_, cpu().counters,
                                                                    {.optimisations = optimisations,
                                                                     .shared = config.processors.cpus > 1,
                                                                     .report = translation_report(config)});
    chosen = std::make_unique<jit::x64::Translator>(cpu(), dispatcher_.blocks(), shared.translations);
    if (config.engine == Engine::kVerify) {
      auto made = std::make_unique<jit::Verifier>(cpu(), dispatcher_.blocks(), std::move(chosen),
                                                  !optimisations.flag_liveness);
      verifier_ = made.get();
      chosen = std::move(made);
    }
  }
  if (may_run_directly(config)) {
    auto made = std::make_unique<jit::direct::DirectRunner>(cpu(), dispatcher_.blocks(), std::move(chosen));
    direct_ = made.get();
    chosen = std::move(made);
  }
#endif
  if (config.trace) chosen = std::make_unique<jit::Tracer>(cpu(), std::move(chosen), config.trace);
  return chosen;
}

void Processor::reset() {
  interp::reset(cpu().state, model_, index_ == 0);
  cpu().state.pending.fetch_and(core::kPendingStop | core::kPendingCoherence);
  dispatcher_.blocks().clear();
  cpu().mmu.flush_all();
  cpu().mmu.mode_changed();
}

void Processor::wake(core::Pending reason) {
  cpu().state.notify(reason);
  cpu().state.attention.notify_one();
  if (member_) directed_yield_.wake(seat_);
#ifdef DOPPEL_TRANSLATOR_X64
  if (direct_) direct_->interrupt();
#endif
}

bool Processor::run() {
  using Exit = jit::Dispatcher::Exit;
  while (true) {
    switch (dispatcher_.run()) {
      case Exit::kStopped:
        return true;
      case Exit::kShutdown:
        return false;
      case Exit::kIdle:
        sleep();
        break;
      case Exit::kYield:
        yield();
        break;
      case Exit::kBudget:
        break;
    }
  }
}

void Processor::yield() {
  member_->rest();
  directed_yield_.spin(seat_, [this] { return cpu().state.attention.load() != 0; });
  member_->resume();
}

void Processor::sleep() {
  rest();
  cpu().state.attention.wait(0);
  resume();
}

void Processor::adopt() {
  current_ = this;
  devices::LocalApicPage::use_on_this_thread(&board_.local_apic(index_));
  resume();
}

void Processor::rest() {
  if (!member_) return;
  member_->rest();
  directed_yield_.rest(seat_);
}
void Processor::resume() {
  if (!member_) return;
  directed_yield_.run(seat_);
  member_->resume();
}

bool Processor::runs_directly() const {
#ifdef DOPPEL_TRANSLATOR_X64
  return direct_ != nullptr;
#else
  return false;
#endif
}

std::string Processor::difference() const {
  return verifier_ ? verifier_->report() : "";
}

void Processor::publish_counters() {
  if (backend_) backend_->publish_counters();
}

}  // namespace doppel::machine
