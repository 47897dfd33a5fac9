#include "core/machine/machine.hpp"

#include <doctest.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "devices/pc_layout.hpp"
#include "tests/machine/small_guest.hpp"

namespace doppel::machine::test {
namespace {

using namespace devices;

constexpr u64 kRamSize = u64{64} << 20;
// Writing SLP_TYP and SLP_EN to the control register of the ACPI hardware.
constexpr u16 kAcpiControl = kPortAcpiPm + 4, kSoftOff = 0 << 10 | 1 << 13;

class Recorder final : public CharBackend {
 public:
  void write(u8 byte) override {
    std::lock_guard guard(mutex_);
    text_ += static_cast<char>(byte);
  }
  [[nodiscard]] std::string text() {
    std::lock_guard guard(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

// A guest, the machine it runs on and the thread of its events.
class Run {
 public:
  struct Kind {
    const char* name;
    bool is_linux;
    Engine engine;
  };
  [[nodiscard]] static std::vector<Kind> kinds() {
    std::vector<Kind> all = {{"multiboot", false, Engine::kInterpreter},
                             {"linux", true, Engine::kInterpreter}};
    if (have_translator()) all.push_back({"linux, translated", true, Engine::kTranslator});
    return all;
  }
  static MachineConfig config(const Kind& kind, const GuestCode& code) {
    MachineConfig config;
    config.engine = kind.engine;
    config.cpu = std::get<core::CpuModel>(core::parse_cpu_model("x86-64-v2"));
    config.ram_size = kRamSize;
    config.kernel = kind.is_linux ? code.linux_kernel() : code.multiboot_kernel();
    config.no_reboot = true;
    return config;
  }

  explicit Run(MachineConfig config) : machine(std::move(config), events, serial, debug) {}
  ~Run() { stop_events(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void stop_events() {
    events.stop();
    if (event_thread_.joinable()) event_thread_.join();
  }

  boost::asio::io_context events;
  Recorder serial, debug;
  Machine machine;

 private:
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{events.get_executor()};
  std::thread event_thread_{[this] { events.run(); }};
};

void for_each_kind(const GuestCode& code, const std::function<void(Run&)>& check,
                   const std::function<void(MachineConfig&)>& change = {}) {
  for (const Run::Kind& kind : Run::kinds()) {
    CAPTURE(std::string(kind.name));
    MachineConfig config = Run::config(kind, code);
    if (change) change(config);
    Run run(std::move(config));
    check(run);
  }
}

template <class F>
bool comes_true(F condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return condition();
}

}  // namespace

TEST_CASE("how a guest ends the machine") {
  struct Case {
    const char* how;
    GuestCode code;
    Outcome::Kind kind;
    int status = 0;
  };
  using Kind = Outcome::Kind;
  for (const Case& c :
       {Case{"ACPI power-off", GuestCode().out16(kAcpiControl, kSoftOff).halt(), Kind::kPowerOff},
        Case{"isa-debug-exit", GuestCode().out8(kPortDebugExit, 0x21).halt(), Kind::kGuestExit, 0x43},
        Case{"the reset control register", GuestCode().out8(kPortReset, 0x02).out8(kPortReset, 0x06).halt(),
             Kind::kReset},
        Case{"the keyboard controller", GuestCode().out8(kPortI8042Command, 0xfe).halt(), Kind::kReset},
        Case{"system control port A", GuestCode().out8(kPortSystemControlA, 0x01).halt(), Kind::kReset}}) {
    CAPTURE(std::string(c.how));
    for_each_kind(c.code, [&](Run& run) {
      const Outcome outcome = run.machine.run();
      CHECK(bool{outcome.kind == c.kind});
      CHECK(outcome.status == c.status);
      CHECK(run.machine.instructions() > 0);
    });
  }
}

TEST_CASE("output arrives in order, at the right place") {
  const auto code = GuestCode()
                        .print(kPortSerial1, "serial\n")
                        .print(kPortDebugE9, "e9 ")
                        .print(kPortDebugFirmware, "402")
                        .out8(kPortDebugExit, 0);
  for_each_kind(code, [](Run& run) {
    CHECK(bool{run.machine.run().kind == Outcome::Kind::kGuestExit});
    CHECK(run.serial.text() == "serial\n");
    CHECK(run.debug.text() == "e9 402");
  });
}

TEST_CASE("a triple fault is reported with registers and code") {
  auto code = GuestCode().bytes({0xbc, 0x00, 0x00, 0x30, 0x00,  // MOV ESP, 0x300000
                                 0x6a, 0x00, 0x6a, 0x00,        // PUSH 0 twice
                                 0x0f, 0x01, 0x1c, 0x24,        // LIDT [ESP]
                                 0xb8, 0x78, 0x56, 0x34, 0x12,  // MOV EAX, 0x12345678
                                 0x0f, 0x0b});
  for_each_kind(code, [](Run& run) {
    const Outcome outcome = run.machine.run();
    CHECK(bool{outcome.kind == Outcome::Kind::kTripleFault});
    for (const char* part : {"RAX 0000000012345678", "code at RIP: 0f 0b", "IDTR 0000000000000000 limit 0000",
                             "stack at 00000000002ff"}) {
      CAPTURE(std::string(part));
      CHECK(outcome.report.find(part) != std::string::npos);
    }
  });
}

TEST_CASE("a triple fault of the second processor is reported with its registers") {
  auto code = GuestCode()
                  .bytes({0xbf, 0x00, 0x80, 0x00, 0x00,              // MOV EDI, 0x8000: real-mode code there:
                          0xc7, 0x07, 0x0f, 0x01, 0x1e, 0x10,        //   LIDT [0x8010]
                          0xc7, 0x47, 0x04, 0x80, 0xcc, 0xf4, 0xf4,  //   INT3
                          0xc7, 0x47, 0x10, 0x00, 0x00, 0x00, 0x00,  // an empty table
                          0xc7, 0x47, 0x14, 0x00, 0x00, 0x00, 0x00,  //
                          0xbf, 0x00, 0x03, 0xe0, 0xfe,              // MOV EDI, the APIC's command register
                          0xc7, 0x07, 0x00, 0x45, 0x0c, 0x00,        // INIT to all others
                          0xc7, 0x07, 0x08, 0x46, 0x0c, 0x00})       // start-up at 0x8000
                  .spin();
  for_each_kind(
      code,
      [](Run& run) {
        const Outcome outcome = run.machine.run();
        CHECK(bool{outcome.kind == Outcome::Kind::kTripleFault});
        CHECK(outcome.report.find("code at RIP: cc f4 f4") != std::string::npos);
      },
      [](MachineConfig& config) { config.processors = {.cpus = 2, .cores = 2}; });
}

TEST_CASE("a reset starts the guest again, in the same memory") {
  const auto code = GuestCode()
                        .print(kPortSerial1, "R")
                        .bytes({0xff, 0x04, 0x25, 0x00, 0x00, 0x50, 0x00,        // INC dword [0x500000]
                                0x83, 0x3c, 0x25, 0x00, 0x00, 0x50, 0x00, 0x03,  // CMP dword [0x500000], 3
                                0x75, 0x07})                                     // JNE over the exit
                        .out8(kPortDebugExit, 0)
                        .out8(kPortReset, 0x06)
                        .halt();
  for_each_kind(
      code,
      [](Run& run) {
        CHECK(bool{run.machine.run().kind == Outcome::Kind::kGuestExit});
        CHECK(run.serial.text() == "RRR");
      },
      [](MachineConfig& config) { config.no_reboot = false; });
}

TEST_CASE("another thread stops or resets a machine, whatever it does") {
  for (const bool halted : {false, true})
    for (const bool reset : {false, true}) {
      auto code = GuestCode().print(kPortSerial1, "up");
      halted ? code.halt() : code.spin();
      for_each_kind(code, [&](Run& run) {
        std::thread other([&] {
          comes_true([&] { return run.serial.text() == "up"; });
          reset ? run.machine.reset() : run.machine.stop();
        });
        CHECK(bool{run.machine.run().kind == (reset ? Outcome::Kind::kReset : Outcome::Kind::kStopped)});
        other.join();
      });
    }
}

TEST_CASE("serial input: as much as fits, the rest when there is room") {
  // Waits for a byte, sends it back, and exits at a 'q'.
  const auto code = GuestCode()
                        .set_port(kPortSerial1 + 5)
                        .bytes({0xec, 0xa8, 0x01, 0x74, 0xfb})  // IN AL, DX; TEST AL, 1; JZ
                        .set_port(kPortSerial1)
                        .bytes({0xec, 0xee, 0x3c, 'q', 0x75, 0xed})  // IN, OUT, CMP AL, 'q', JNE to the start
                        .out8(kPortDebugExit, 0);
  for_each_kind(code, [](Run& run) {
    const std::string input = "The quick";
    std::size_t sent = 0;
    std::atomic<u32> rooms = 0;
    const auto feed = [&] {
      const auto* data = reinterpret_cast<const u8*>(input.data());
      sent += run.machine.serial_input({data + sent, input.size() - sent});
    };
    run.machine.on_serial_room([&] {
      ++rooms;
      boost::asio::post(run.events, feed);
    });
    feed();
    CHECK(sent == 1);  // no FIFO was turned on
    CHECK(bool{run.machine.run().kind == Outcome::Kind::kGuestExit});
    run.machine.on_serial_room({});
    run.stop_events();
    CHECK(run.serial.text() == "The q");
    CHECK(rooms >= 4);
  });
}

TEST_CASE("ports without a device are counted") {
  for_each_kind(GuestCode().out8(0x1234, 1).out8(kPortDebugExit, 0), [](Run& run) {
    CHECK(bool{run.machine.run().kind == Outcome::Kind::kGuestExit});
    const auto counts = run.machine.counters().values();
    const auto count = counts.find("port.unassigned.write 0x1234");
    REQUIRE(count != counts.end());
    CHECK(count->second == 1);
  });
}

TEST_CASE("a machine that cannot be made says why") {
  struct Case {
    std::vector<u8> kernel;
    u64 ram_size;
    const char* says;
  };
  const std::vector<u8> kernel = GuestCode().halt().multiboot_kernel();
  for (const Case& c : {Case{{1, 2, 3}, kRamSize, "kernel"}, Case{{}, kRamSize, "kernel"},
                        Case{kernel, u64{1} << 60, "smaller -m"}}) {
    boost::asio::io_context events;
    Recorder serial, debug;
    MachineConfig config;
    config.cpu = std::get<core::CpuModel>(core::parse_cpu_model("max"));
    config.kernel = c.kernel;
    config.ram_size = c.ram_size;
    std::string sentence;
    try {
      const Machine machine(config, events, serial, debug);
    } catch (const ConfigError& error) {
      sentence = error.what();
    }
    CAPTURE(sentence);
    CHECK(sentence.find(c.says) != std::string::npos);
  }
}

TEST_CASE("the built-in test guest passes") {
  for (const Engine engine : {Engine::kInterpreter, Engine::kTranslator}) {
    if (engine == Engine::kTranslator && !have_translator()) continue;
    MachineConfig config;
    config.engine = engine;
    config.cpu = std::get<core::CpuModel>(core::parse_cpu_model("max"));
    config.ram_size = kRamSize;
    config.selftest = true;
    Run run(config);
    const Outcome outcome = run.machine.run();
    CHECK(bool{outcome.kind == Outcome::Kind::kGuestExit});
    CHECK(selftest_passed(outcome.status));
  }
}

}  // namespace doppel::machine::test
