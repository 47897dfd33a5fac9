// What terminals send as keys, what a text screen becomes on a terminal, and what the control socket answers.
#include "core/machine/display.hpp"

#include <doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/machine/control_commands.hpp"
#include "core/machine/host_input.hpp"
#include "core/machine/terminal_keys.hpp"
#include "core/machine/text_viewer.hpp"
#include "tests/machine/small_guest.hpp"

namespace doppel::machine {
namespace {

using devices::vga::TextScreen;

std::string names(std::string_view bytes) {
  std::string text;
  for (const Chord& chord : keys_from_terminal({reinterpret_cast<const u8*>(bytes.data()), bytes.size()})) {
    if (!text.empty()) text += ' ';
    for (const auto* key : chord) {
      if (key != chord.front()) text += '+';
      text += key->name;
    }
  }
  return text;
}

TEST_CASE("a terminal's bytes are keys") {
  struct Case {
    std::string_view bytes, keys;
  };
  for (const Case& c :
       {Case{"aB1", "a left-shift+b 1"}, Case{"\r\t\x7f", "enter tab backspace"},
        Case{"\x03\x1a", "left-ctrl+c left-ctrl+z"}, Case{"\x1b", "escape"},
        Case{"\x1b\x1b", "escape escape"}, Case{"\x1b[A\x1bOB", "up down"}, Case{"\x1b[15~x", "f5 x"},
        Case{"\x1b[[C", "f3"}, Case{"\x1b[3~\x1b[6~", "delete page-down"}, Case{"\x1bx", "left-alt+x"},
        Case{"\x1b[99;9Rq", "q"}, Case{"\x1b[", "left-alt+left-bracket"}, Case{"\xc3\xa4z", "z"},
        Case{"\x1c", "left-ctrl+backslash"}, Case{"", ""}}) {
    CAPTURE(c.bytes);
    CHECK(names(c.bytes) == c.keys);
  }
}

TEST_CASE("a terminal gets what changed, no more") {
  TextScreen screen{
      .columns = 3, .rows = 2, .cells = std::vector<TextScreen::Cell>(6, {' ', 7}), .cursor = {}};
  const std::string all = terminal_update({}, screen);
  CHECK(all.find("\x1b[2J") != std::string::npos);
  CHECK(terminal_update(screen, screen) == "\x1b[?25l");
  TextScreen next = screen;
  next.cells[4] = {0xc4, 0x9e};  // yellow on blue, blinking
  next.cells[5] = {'x', 0x9e};
  next.cursor = {2, 1};
  CHECK(terminal_update(screen, next) == "\x1b[2;2H\x1b[0;93;44;5m─x\x1b[2;3H\x1b[?25h");
}

class Nowhere final : public devices::CharBackend {
 public:
  void write(u8) override {}
};

struct Board {
  static MachineConfig config() {
    MachineConfig config;
    config.cpu = std::get<core::CpuModel>(core::parse_cpu_model("x86-64-v2"));
    config.ram_size = u64{4} << 20;
    config.kernel = test::GuestCode{}.halt().multiboot_kernel();
    return config;
  }
  nlohmann::json ask(const std::string& line) {
    return nlohmann::json::parse(understand(line, machine).answer());
  }

  boost::asio::io_context events;
  Nowhere serial, debug;
  Machine machine{config(), events, serial, debug};
};

TEST_CASE_FIXTURE(Board, "the control socket's commands") {
  const auto status = ask(R"({"execute":"status"})")["return"];
  CHECK(status["screen"] == "text");
  CHECK(status["width"] == 720);
  const auto text = ask(R"({"execute":"screen-text"})")["return"];
  CHECK(text["columns"] == 80);
  CHECK(text["lines"].size() == 25);
  CHECK(text["cursor"]["row"] == 0);
  const auto picture = std::filesystem::temp_directory_path() / "doppel-display-test.png";
  const std::string screenshot = nlohmann::json{{"execute", "screenshot"}, {"file", picture.string()}}.dump();
  CHECK(understand(screenshot, machine).slow);
  CHECK(ask(screenshot)["return"]["height"] == 400);
  CHECK(std::filesystem::file_size(picture) > 100);
  std::filesystem::remove(picture);
  CHECK(ask(R"({"execute":"send-key","keys":"ctrl+alt+delete"})").contains("return"));
  CHECK(machine.input().waiting() == 6);
  CHECK(ask(R"({"execute":"move-mouse","dx":-5,"buttons":1})").contains("return"));
}

TEST_CASE_FIXTURE(Board, "keys that nobody takes are refused in the end, not kept for ever") {
  const std::string line = nlohmann::json{{"execute", "send-keys"}, {"text", std::string(4000, 'a')}}.dump();
  int taken = 0;
  while (taken < 100 && ask(line).contains("return")) ++taken;
  CHECK(taken == 2);
  CHECK(ask(line)["error"].get<std::string>().find("too many keys") != std::string::npos);
}

TEST_CASE_FIXTURE(Board, "what is wrong with a message is said in a sentence") {
  struct Case {
    const char *line, *part;
  };
  for (const Case& c :
       {Case{"", "no JSON object"}, Case{"[1]", "no JSON object"}, Case{"{", "no JSON object"},
        Case{R"({"execute":7})", "\"execute\""}, Case{R"({"execute":"statu"})", "mean \"status\""},
        Case{R"({"execute":"reset","now":1})", "no argument \"now\""},
        Case{R"({"execute":"send-key","keys":"a++b"})", "no key \"\""},
        Case{R"({"execute":"send-key"})", "\"keys\" is missing"},
        Case{R"({"execute":"move-mouse","dx":"1"})", "no whole number"},
        Case{R"({"execute":"move-mouse","buttons":32})", "from 0 to 31"}}) {
    CAPTURE(c.line);
    CHECK(ask(c.line)["error"].get<std::string>().find(c.part) != std::string::npos);
  }
}

}  // namespace
}  // namespace doppel::machine
