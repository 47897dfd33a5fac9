// The verifier on small programs: what is right passes, what is planted is found, and what has effects
// outside happens once.
#include "jit/verify.hpp"

#include <fmt/format.h>

#include <functional>

#include "jit/trace.hpp"
#include "tests/jit/running_machine.hpp"

namespace doppel::jit::test {
namespace {

constexpr u8 kPort = 0x80;
constexpr u64 kMmio = 0x10'0000;

// Does something wrong after the run number `at`.
class Saboteur final : public Backend {
 public:
  using Damage = std::function<void(RunningMachine&)>;
  Saboteur(RunningMachine& machine, std::unique_ptr<Backend> inner, u32 at, Damage damage)
      : machine_(machine), inner_(std::move(inner)), at_(at), damage_(std::move(damage)) {}
  [[nodiscard]] bool ready(Block& block) override { return inner_->ready(block); }
  void run(Block& block) override {
    inner_->run(block);
    if (++runs_ == at_) damage_(machine_);
  }
  void forget(Block& block) override { inner_->forget(block); }
  void forget_page(u64 linear_page) override { inner_->forget_page(linear_page); }
  void clear() override { inner_->clear(); }
  void publish_counters() override { inner_->publish_counters(); }
  [[nodiscard]] std::string listing(const Block& block) const override { return inner_->listing(block); }

 private:
  RunningMachine& machine_;
  std::unique_ptr<Backend> inner_;
  u32 at_, runs_ = 0;
  Damage damage_;
};

struct VerifiedMachine : RunningMachine {
  explicit VerifiedMachine(bool exact = true, u32 at = 0, Saboteur::Damage damage = {}) {
    std::unique_ptr<Backend> inner = std::make_unique<x64::Translator>(
        cpu, dispatcher.blocks(),
        x64::Optimisations{.hot_runs = 0, .flag_liveness = !exact, .chaining = false, .jump_cache = false},
        8 << 20);
    if (at != 0) inner = std::make_unique<Saboteur>(*this, std::move(inner), at, std::move(damage));
    auto made = std::make_unique<Verifier>(cpu, dispatcher.blocks(), std::move(inner), exact);
    verifier = made.get();
    backend = std::move(made);
    dispatcher.set_backend(backend.get());
  }
  [[nodiscard]] u64 counter(const char* name) {
    backend->publish_counters();
    return counters[name];
  }
  Verifier* verifier;
};

class CountingDevice final : public core::Device {
 public:
  [[nodiscard]] std::string_view name() const override { return "counting"; }
  void reset() override {}
  [[nodiscard]] u64 read(u64, u32) override { return ++reads; }
  void write(u64, u32, u64) override { ++writes; }
  void snapshot(core::SnapshotIo&) override {}
  u64 reads = 0, writes = 0;
};

// RCX = 5; RDI = kSpare; do { [RDI] += RCX; RAX += [RDI]; RDI += 8 } while (--RCX); HLT
const std::initializer_list<u8> kLoop = {0xb9, 5,    0,    0,    0,    0xbf, 0,    0,    5,
                                         0,    0x48, 0x01, 0x0f, 0x48, 0x03, 0x07, 0x48, 0x83,
                                         0xc7, 0x08, 0xff, 0xc9, 0x75, 0xf2, 0xf4};
static_assert(kSpare == 0x5'0000);

}  // namespace

TEST_CASE("the verifier agrees with a right translation") {
  for (const bool exact : {false, true}) {
    CAPTURE(exact);
    VerifiedMachine m(exact);
    m.code(kLoop);
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.verifier->report() == "");
    CHECK(m.cpu.state.gpr[core::kRax] == 15);
    CHECK(m.get<u64>(kSpare) == 5);
    CHECK(m.counter("verify.blocks compared") == 5);  // the loop; the HLT stands alone
  }
}

TEST_CASE("the verifier follows faults, page-crossing accesses and changes of privilege") {
  struct Case {
    const char* name;
    std::vector<u8> code;
    int vector;
  };
  const Case cases[] = {
      {"division by zero", {0x31, 0xc9, 0xff, 0xc0, 0xf7, 0xf1}, 0},
      {"page fault", {0xff, 0xc3, 0x48, 0xc7, 0xc1, 0, 0, 0, 0x40, 0x89, 0x19}, 14},
      {"store across pages, and more", {0xbf, 0xfe, 0x0f, 5, 0, 0x89, 0x3f, 0xff, 0xc7, 0x89, 0x3f, 0xcc}, 3},
      {"REP STOSB over pages", {0xbf, 0, 0, 5, 0, 0xb9, 0, 0x20, 0, 0, 0xf3, 0xaa, 0xcc}, 3},
      {"accessed bits in a page that the block writes",
       {0xbf, 0x40, 0x20, 1, 0, 0x48, 0x83, 0x0f, 0, 0xbf, 0, 0, 0x25, 0, 0x89, 0x3f, 0xcc},
       3},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    VerifiedMachine m;
    std::copy(c.code.begin(), c.code.end(), m.ram.host(kRip));
    m.put<u64>(kPageTables + 0x2008, 0x87);  // the same memory again from 2 MiB on, not accessed yet
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.verifier->report() == "");
    CHECK(m.halted_in() == c.vector);
    CHECK(m.counter("verify.blocks compared") >= 1);
  }
}

TEST_CASE("the verifier takes stores to a device's memory back and does them again") {
  VerifiedMachine m;
  constexpr u64 kPixels = 0x4000'0000;
  std::vector<u8> pixels(0x2000, 0x10);
  REQUIRE(m.memory.map_device(kPixels, pixels, true));
  m.put<u64>(kPageTables + 0x2008, kPixels | 0xe7);  // at 2 MiB
  // EDI = 2 MiB + 0xffe; ADD [RDI], 0x01010101, across pages; ADD [RDI - 8], the same; INT3
  m.code({0xbf, 0xfe, 0x0f, 0x20, 0, 0x81, 0x07, 1, 1, 1, 1, 0x81, 0x47, 0xf8, 1, 1, 1, 1, 0xcc});
  CHECK(m.run() == Exit::kIdle);
  CHECK(m.halted_in() == 3);
  CHECK(m.verifier->report() == "");
  CHECK(m.counter("verify.blocks compared") >= 1);
  for (const u64 at : {0xff6, 0xff9, 0xffe, 0x1001}) CHECK(pixels[at] == 0x11);
  CHECK(pixels[0xffa] == 0x10);
}

TEST_CASE("the verifier finds what is planted") {
  struct Case {
    const char* name;
    Saboteur::Damage damage;
    const char* reported;
  };
  const Case cases[] = {
      {"a register", [](RunningMachine& m) { ++m.cpu.state.gpr[core::kRbx]; }, "* RBX"},
      {"RIP", [](RunningMachine& m) { m.cpu.state.rip += 2; }, "* RIP"},
      {"a flag", [](RunningMachine& m) { m.cpu.state.lazy.aux ^= u64{3} << 62; }, "* RFLAGS"},
      {"another flag", [](RunningMachine& m) { m.cpu.state.rflags ^= core::kDf; }, "* RFLAGS"},
      {"a vector", [](RunningMachine& m) { m.cpu.state.vec[3].q[1] ^= 1; }, "* vec[13]"},
      {"x87", [](RunningMachine& m) { m.cpu.state.x87.physical[2].sign_exponent ^= 1; },
       "* x87.sign_exponent[2]"},
      {"a segment", [](RunningMachine& m) { ++m.cpu.state.segment[core::kFs].base; }, "* segment.base[4]"},
      {"a fault that was none", [](RunningMachine& m) { m.cpu.raise(core::Vector::kUD); }, "* fault"},
      {"a stored value", [](RunningMachine& m) { static_cast<void>(m.cpu.mmu.write<u8>(kSpare + 1, 7)); },
       "* memory 0x50000"},
      {"a store elsewhere", [](RunningMachine& m) { static_cast<void>(m.cpu.mmu.write<u8>(0x5'5008, 7)); },
       "* memory 0x55008"},
  };
  constexpr u32 kRun = 3;
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    VerifiedMachine m(true, kRun, c.damage);
    m.code(kLoop);
    CHECK(m.run() == Exit::kStopped);
    const std::string& report = m.verifier->report();
    CAPTURE(report);
    CHECK(report.find(c.reported) != std::string::npos);
    CHECK(report.find("after 2 blocks") != std::string::npos);
    CHECK(report.find("add [rdi], rcx") != std::string::npos);  // the guest's code
    CHECK(m.counter("verify.blocks compared") == kRun - 1);
  }
}

TEST_CASE("without exact flags, a wrong one is found where it is read") {
  // CMP EAX, EAX; JMP next; next: SETZ BL; HLT
  VerifiedMachine m(false, 1, [](RunningMachine& machine) { machine.cpu.state.lazy.result = 1; });
  m.code({0x39, 0xc0, 0xeb, 0x00, 0x0f, 0x94, 0xc3, 0xf4});
  CHECK(m.run() == Exit::kStopped);
  CHECK(m.verifier->report().find("* RBX") != std::string::npos);
}

TEST_CASE("flags that the manuals leave open") {
  struct Case {
    const char* name;
    std::vector<u8> code;
    u64 undefined, saved;
    bool read;
  };
  const Case cases[] = {
      {"ADD", {0x01, 0xc0}, 0, 0, false},
      {"AND", {0x21, 0xc0}, core::kAf, 0, false},
      {"AND, PUSHFQ", {0x21, 0xc0, 0x9c}, core::kAf, core::kAf, false},
      {"AND, ADD, PUSHFQ", {0x21, 0xc0, 0x01, 0xc0, 0x9c}, 0, 0, false},
      {"SHL by CL keeps", {0x21, 0xc0, 0xd3, 0xe0}, core::kAf | core::kOf, 0, false},
      {"a narrow SHL", {0xd2, 0xe0}, core::kAf | core::kOf | core::kCf, 0, false},
      {"MUL, JZ", {0xf7, 0xe0, 0x74, 0x00}, core::kAf | core::kPf | core::kSf | core::kZf, 0, true},
      {"MUL, JC", {0xf7, 0xe0, 0x72, 0x00}, core::kAf | core::kPf | core::kSf | core::kZf, 0, false},
  };
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    const OpenFlags last = open_flags(c.code).back();
    CHECK(last.undefined == c.undefined);
    CHECK(last.saved == c.saved);
    CHECK(last.read == c.read);
  }
}

TEST_CASE("device accesses happen once under the verifier") {
  VerifiedMachine m;
  CountingDevice port, registers;
  m.ports.attach(kPort, 1, port);
  m.memory.add_hole(kMmio, core::kPageSize);
  m.mmio.attach(kMmio, core::kPageSize, registers);
  m.cpu.state.gpr[core::kRdi] = kMmio;
  // INC EBX; OUT 80h, AL; IN AL, 80h; INC EBX; MOV [RDI], EAX; MOV EAX, [RDI]; HLT
  m.code({0xff, 0xc3, 0xe6, kPort, 0xe4, kPort, 0xff, 0xc3, 0x89, 0x07, 0x8b, 0x07, 0xf4});
  CHECK(m.run() == Exit::kIdle);
  CHECK(port.reads == 1);
  CHECK(port.writes == 1);
  CHECK(registers.reads == 1);
  CHECK(registers.writes == 1);
  CHECK(m.counter("verify.not compared: device access") == 2);
  CHECK(m.cpu.state.gpr[core::kRbx] == 2);
  CHECK(m.verifier->report() == "");
}

TEST_CASE("code that changes itself runs on under the verifier") {
  VerifiedMachine m;
  // MOV byte [kRip + 8], 0c3h (the INC EAX becomes INC EBX); INC EAX; HLT
  m.code({0xc6, 0x04, 0x25, 0x09, 0x80, 0, 0, 0xc3, 0xff, 0xc0, 0xf4});
  CHECK(m.run() == Exit::kIdle);
  CHECK(m.cpu.state.gpr[core::kRbx] == 1);
  CHECK(m.verifier->report() == "");
  CHECK(m.counter("verify.not compared: code changed") == 1);
}

TEST_CASE("a trace has a line for every block, the same with both engines") {
  const auto trace = [](bool translated) {
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* out = ::open_memstream(&text, &size);
    {
      RunningMachine m;
      std::unique_ptr<Backend> inner;
      if (translated)
        inner = std::make_unique<x64::Translator>(
            m.cpu, m.dispatcher.blocks(),
            x64::Optimisations{.hot_runs = 0, .chaining = false, .jump_cache = false}, 8 << 20);
      m.backend = std::make_unique<Tracer>(m.cpu, std::move(inner), out);
      m.dispatcher.set_backend(m.backend.get());
      m.code(kLoop);
      CHECK(m.run() == Exit::kIdle);
    }
    std::fclose(out);
    std::string result(text, size);
    std::free(text);
    return result;
  };
  const std::string lines[] = {"0000000000008000 64 ring0  8 ", "000000000000800a 64 ring0  6 ",
                               "000000000000800a 64 ring0  6 ", "000000000000800a 64 ring0  6 ",
                               "000000000000800a 64 ring0  6 "};
  for (const std::string engine : {"interp", "jit"}) {
    std::string expected;
    for (const std::string& line : lines) expected += line + engine + "\n";
    CHECK(trace(engine == "jit") == expected);
  }
}

TEST_CASE("a trace shows what runs in an interrupt shadow") {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* out = ::open_memstream(&text, &size);
  {
    RunningMachine m;
    m.backend = std::make_unique<Tracer>(m.cpu, nullptr, out);
    m.dispatcher.set_backend(m.backend.get());
    m.code({0xfb, 0x90, 0xf4});  // STI; NOP; HLT
    CHECK(m.run() == Exit::kIdle);
  }
  std::fclose(out);
  CHECK(std::string(text, size) ==
        "0000000000008000 64 ring0  1 interp\n"
        "0000000000008001 64 ring0  1 step\n"
        "0000000000008002 64 ring0  1 interp\n");
  std::free(text);
}

TEST_CASE("a block beside its translation") {
  const u8 guest[] = {0x31, 0xc0, 0xc3};
  const u8 host[] = {0x31, 0xc0, 0x90, 0xc3, 0xcc};
  const u32 starts[] = {0, 2, 4};
  Block block;
  block.count = 2;
  block.code_bits = 64;
  const std::string text = x64::side_by_side({block, 0x1000, guest, 0x2000, host, starts});
  const auto line = [](const char* left, const char* right) {
    return fmt::format("  {:<56} | {}\n", left, right);
  };
  CHECK(text == "block at 0x1000 (physical 0x0): 2 instructions, 5 host bytes\n" +
                    line("1000  xor eax, eax", "2000  xor eax, eax") + line("1002  ret", "2002  nop") +
                    line("", "2003  ret") + line("out of line", "2004  int3"));
}

}  // namespace doppel::jit::test
