#include "jit/direct/direct_runner.hpp"

#include <algorithm>
#include <ctime>
#include <system_error>
#include <utility>

#include "core/log.hpp"
#include "jit/direct/guest_registers.hpp"

namespace doppel::jit::direct {

using core::CpuState;
using Reason = StubProcess::Stop::Reason;

namespace {

// All times are in nanoseconds.
constexpr u64 kSwitch = 15'000;  // to a stub process and back; more than half of it passes there
// User code is worth a try after as much time as kProof in which it stayed out of the kernel for as long as
// kPromising at a time.
constexpr u64 kPromising = 80'000, kProof = 4'000'000;
constexpr u64 kTranslation = 25'000;  // of a new block, with all that comes before and after it
// Of a relocated block, and of a stop for more of them: most of that passes where memory is touched first.
constexpr u64 kRelocation = 13'000, kRelocating = 70'000;
// Code is copied for as long as the program has computed before, translated, and for a part of what it has
// run directly: new code may be run through once, like a program's end.
constexpr u64 kCreditOfTime = 8, kMostCredit = 40'000'000, kCreditOfRuns = 500'000, kRunsPerCredit = 16;
constexpr u64 kCreditToGoOn = 4'000'000;  // after a run that ended for lack of it
// Copies that are lost again and again, with a compiler at work, are worth less each time; until user code
// ran for kKept without a loss.
constexpr u32 kMostLosses = 8;
constexpr u64 kKept = 1'000'000;
// What a run is expected to save: before the first one, and after a pause.
constexpr i64 kFirstHope = 1'200'000, kHope = 300'000;
// Pauses after runs that saved nothing: doubled each time, from the first to the last.
constexpr u64 kFirstPause = 2'000'000, kLastPause = 128'000'000;
// Returns to user code between two looks at how often there are any; an interrupt of user code asks for one,
// too.
constexpr i64 kLook = 16;
constexpr std::size_t kMostSpaces = 8, kMostHistories = 1024;

u64 clock_nanoseconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec);
}

}  // namespace

DirectRunner::DirectRunner(Vcpu& cpu, BlockCache& blocks, std::unique_ptr<Backend> inner)
    : cpu_(cpu),
      inner_(std::move(inner)),
      code_(cpu, blocks),
      writable_(cpu.mmu.memory().ram()),
      translated_(cpu.counters["jit.blocks translated"]) {
  cpu_.mmu.observe_flushes(this);
  grant(kLook);
}

DirectRunner::~DirectRunner() {
  cpu_.mmu.observe_flushes(nullptr);
}

bool DirectRunner::suits(const core::CpuModel& model) {
  using core::Feature;
  constexpr Feature kInstructions[] = {
      Feature::kSse2,   Feature::kSse3,   Feature::kSsse3,  Feature::kSse41,   Feature::kSse42,
      Feature::kPopcnt, Feature::kCx16,   Feature::kMovbe,  Feature::kAes,     Feature::kPclmulqdq,
      Feature::kSha,    Feature::kXsave,  Feature::kAvx,    Feature::kAvx2,    Feature::kFma,
      Feature::kF16c,   Feature::kBmi1,   Feature::kBmi2,   Feature::kAbm,     Feature::kAdx,
      Feature::kRdrand, Feature::kRdseed, Feature::kLahfLm, Feature::kFsgsbase};
  return std::ranges::all_of(kInstructions, [&](Feature feature) { return model.has(feature); });
}

void DirectRunner::grant(i64 entries) {
  granted_ = entries;
  cpu_.state.translator.user_entries_left = entries;
}

// User code that is interrupted computes: look at its return.
void DirectRunner::interrupting() {
  inner_->interrupting();
  i64& left = cpu_.state.translator.user_entries_left;
  if (cpu_.state.cpl != 3 || left <= 1) return;
  granted_ -= left - 1;
  left = 1;
}

bool DirectRunner::ready(Block& block) {
  const CpuState& s = cpu_.state;
  if (s.cpl == 3 && s.translator.user_entries_left <= 0) {
    wanted_ = possible_ && worthwhile();
    grant(insist_ ? 1 : kLook);
  }
  return (wanted_ && s.cpl == 3) || inner_->ready(block);
}

void DirectRunner::run(Block& block) {
  if (std::exchange(wanted_, false) && cpu_.state.cpl == 3 && run_directly()) return;
  if (inner_->ready(block)) inner_->run(block);
}

// At a look: a return to user code.
bool DirectRunner::worthwhile() {
  // Time that this thread ran: neither a halted guest nor user code that runs directly counts. Programs that
  // are new to the translator do not compute for long, they are translated for long.
  const u64 now = clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  const u64 passed = now - std::exchange(last_look_, now);
  const u64 translating = (translated_ - std::exchange(last_translated_, translated_)) * kTranslation;
  const u64 since = passed > 2 * translating ? passed - translating : 0;
  const auto entries = static_cast<u64>(std::max<i64>(granted_ - cpu_.state.translator.user_entries_left, 1));
  if (insist_) return true;
  if (history_.size() > kMostHistories) history_.clear();
  History& history = history_[root()];
  if (history.pause_until > clock_nanoseconds(CLOCK_MONOTONIC)) return false;
  if (history.runs) {
    if (!history.broke) return true;
    history.credit = std::min(history.credit + (kCreditOfTime * since >> history.losses), kMostCredit);
    return history.credit >= kCreditToGoOn;
  }
  history.promised = since >= kPromising * entries ? history.promised + since : 0;
  history.credit = std::min(kCreditOfTime * history.promised >> history.losses, kMostCredit);
  return history.promised >= kProof;
}

// After a run of the space, in which user code ran for `ran`.
void DirectRunner::count_losses(History& history, ShadowSpace& space, u64 ran) {
  const u64 before = std::exchange(space.losses, space.relocated().times_cleared());
  if (space.take_replaced())
    history.losses = 0;
  else if (space.losses != before)
    history.losses = std::min(history.losses + 1, kMostLosses);
  else if (history.losses != 0 && ran >= kKept)
    --history.losses;
}

// After a run that took `all`, of which user code ran for `ran`.
void DirectRunner::judge(History& history, u64 all, u64 ran) {
  // Translated, it would take about twice as long.
  const i64 saved = static_cast<i64>(ran) - static_cast<i64>(all - ran);
  // A long run says no more than that such runs are worth it.
  const i64 hoped = history.pause == 0 ? kFirstHope : kHope;
  history.saved = ((history.runs ? history.saved : hoped) * 3 + std::min(saved, 4 * kHope)) / 4;
  history.runs = history.saved > 0;
  if (history.runs) {
    history.pause -= history.pause / 4;
    grant(1);
    return;
  }
  history.promised = 0;
  history.pause = std::clamp(2 * history.pause, kFirstPause, kLastPause);
  history.pause_until = clock_nanoseconds(CLOCK_MONOTONIC) + history.pause;
}

ShadowSpace* DirectRunner::current_space() {
  const auto it = std::ranges::find(spaces_, root(), [](const auto& space) { return space->root(); });
  if (it != spaces_.end()) return it->get();
  if (spaces_.size() >= kMostSpaces)
    drop(**std::ranges::min_element(spaces_, {}, [](const auto& space) { return space->last_use; }));
  try {
    spaces_.push_back(std::make_unique<ShadowSpace>(cpu_, code_, writable_));
  } catch (const std::system_error& error) {
    // The host forbids it: everything runs translated.
    possible_ = false;
    core::log(core::LogCategory::kJit, "no direct execution: {}", error.what());
    return nullptr;
  }
  ++stubs_;
  spaces_.back()->pcid = cpu_.mmu.pcid();
  return spaces_.back().get();
}

void DirectRunner::SpaceCounts::add(const ShadowSpace& space) {
  pages_mapped += space.pages_mapped();
  relocated_blocks += space.relocated().blocks();
  times_cleared += space.relocated().times_cleared();
}

void DirectRunner::drop(const ShadowSpace& space) {
  dropped_.add(space);
  std::erase_if(spaces_, [&](const auto& other) { return other.get() == &space; });
}

// False: nothing has run.
bool DirectRunner::run_directly() {
  CpuState& s = cpu_.state;
  ShadowSpace* space = current_space();
  if (space == nullptr) return false;
  const u64 start = clock_nanoseconds(CLOCK_MONOTONIC);
  u64 ran = 0;
  StubProcess& stub = space->stub();
  if (!representable(cpu_, stub.initial(), stub.registers)) return false;
  space->last_use = ++uses_;
  // Flushes of another PCID were not told to it.
  if (space->pcid != cpu_.mmu.pcid()) space->all_flushed();
  space->pcid = cpu_.mmu.pcid();
  if (!space->refresh()) {
    drop(*space);
    return false;
  }
  u64 blocks = space->relocated().blocks(), copying = 0;
  const u64 credit = insist_.value_or(history_[root()].credit);
  stub.registers = stub.initial();
  to_host(s, stub.registers);
  if (image_.empty()) stub.read_vectors(image_);
  put_vectors(cpu_, image_);
  if (!stub.write_vectors(image_)) return false;

  let_interrupt(&stub);
  std::optional<StubProcess::Stop> end;  // none: interrupted
  bool usable = space->begin();
  while (usable && !end && copying <= credit && !s.attention.load()) {
    const u64 more = space->relocated().blocks() - std::exchange(blocks, space->relocated().blocks());
    const u64 relocating = more == 0 ? 0 : kRelocating;
    copying += relocating + more * kRelocation;
    const u64 resumed = clock_nanoseconds(CLOCK_MONOTONIC);
    StubProcess::Stop stop = stub.resume();
    const u64 passed = clock_nanoseconds(CLOCK_MONOTONIC) - resumed;
    const u64 around = kSwitch + relocating;
    ran += passed > around ? passed - around : 0;
    if (stop.reason == Reason::kFault) ++faults_;
    const auto outcome = space->stopped(stop);
    if (outcome == ShadowSpace::Outcome::kGoesOn) continue;
    usable = outcome != ShadowSpace::Outcome::kFailed;
    end = stop;
  }
  space->end();
  let_interrupt(nullptr);
  stub.read_vectors(image_);
  take_vectors(cpu_, image_);
  from_host(cpu_, stub.registers, stub.initial());
  ended(end);
  ++runs_;
  const u64 all = clock_nanoseconds(CLOCK_MONOTONIC) - start;
  ran_ += ran;
  overhead_ += all - ran;
  last_look_ = clock_nanoseconds(CLOCK_THREAD_CPUTIME_ID);
  History& history = history_[root()];
  count_losses(history, *space, ran);
  // Copying code pays later.
  judge(history, std::max(ran, all - std::min(all, copying >> history.losses)), ran);
  history.broke = copying > credit;
  if (history.broke) ++over_credit_;
  history.credit = history.broke ? 0 : std::min(credit - copying + ran / kRunsPerCredit, kCreditOfRuns);
  if (history.broke && history.runs) grant(kLook);
  if (!usable) drop(*space);
  return true;
}

// The guest's state is that of the stop. Except after a single step, the translator runs the instruction at
// RIP and raises what it raises.
void DirectRunner::ended(const std::optional<StubProcess::Stop>& stop) {
  if (!stop) {
    ++interruptions_;
    return;
  }
  switch (stop->reason) {
    case Reason::kSystemCall:
      ++system_calls_;
      break;
    case Reason::kFault:
      ++left_at_fault_;
      if (ShadowSpace* space = current_space()) space->page_flushed(stop->address);  // about to be changed
      break;
    case Reason::kTrap:
      ++exceptions_;
      leave_breakpoint();
      break;
    case Reason::kStepped: {
      ++exceptions_;
      constexpr u64 kSingleStep = 1u << 14;  // DR6.BS
      cpu_.state.raise(core::Vector::kDB, 0, kSingleStep);
      break;
    }
    default:
      ++exceptions_;
  }
}

void DirectRunner::leave_breakpoint() {
  CpuState& s = cpu_.state;
  // Back to the INT3 or INT1, or the INT 3 of two bytes.
  constexpr u8 kInt3 = 0xcc, kInt1 = 0xf1;
  const u8* last = cpu_.mmu.direct(s.rip - 1, mmu::Access::kExecute);
  s.rip -= last && (*last == kInt3 || *last == kInt1) ? 1 : 2;
}

void DirectRunner::let_interrupt(const StubProcess* stub) {
  const std::lock_guard guard(running_lock_);
  running_ = stub;
}

void DirectRunner::interrupt() {
  const std::lock_guard guard(running_lock_);
  if (running_) running_->interrupt();
}

void DirectRunner::clear() {
  inner_->clear();
  code_.forget_all();
  for (auto& space : spaces_) space->forget_code();
  flushed_all();
}

void DirectRunner::watched_page_written(u64 physical) {
  code_.forget(physical);
  for (auto& space : spaces_) space->code_written(physical);
  flushed_all();
}

void DirectRunner::code_page_protected(u64 physical) {
  if (writable_.take(physical)) flushed_all();
}

void DirectRunner::flushed_page(u64 la) {
  for (auto& space : spaces_) space->page_flushed(la);
}

void DirectRunner::flushed_space(u16 pcid) {
  for (auto& space : spaces_)
    if (space->pcid == pcid) {
      space->all_flushed();
      // Perhaps it is another process' now.
      History& history = history_[space->root()];
      history.saved = std::min(history.saved, kHope / 4);
    }
}

void DirectRunner::flushed_all() {
  for (auto& space : spaces_) space->all_flushed();
}

void DirectRunner::publish_counters() {
  inner_->publish_counters();
  SpaceCounts spaces = dropped_;
  for (const auto& space : spaces_) spaces.add(*space);
  const std::pair<const char*, u64> counts[] = {{"direct.runs", runs_},
                                                {"direct.microseconds of user code", ran_ / 1000},
                                                {"direct.microseconds around it", overhead_ / 1000},
                                                {"direct.ended by system calls", system_calls_},
                                                {"direct.ended by faults", left_at_fault_},
                                                {"direct.ended by other exceptions", exceptions_},
                                                {"direct.ended by interrupts", interruptions_},
                                                {"direct.ended by copying too much", over_credit_},
                                                {"direct.page faults", faults_},
                                                {"direct.pages mapped", spaces.pages_mapped},
                                                {"direct.relocated blocks", spaces.relocated_blocks},
                                                {"direct.relocated code forgotten", spaces.times_cleared},
                                                {"direct.stub processes", stubs_}};
  for (const auto& [name, count] : counts) cpu_.counters[name] = count;
}

}  // namespace doppel::jit::direct
