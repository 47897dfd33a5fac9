#include "core/machine/control_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <string_view>
#include <vector>

#include "core/machine/display.hpp"
#include "core/machine/host_input.hpp"
#include "core/machine/png_file.hpp"
#include "core/spelling.hpp"

namespace doppel::machine {

namespace {

using devices::vga::Mode;
using nlohmann::json;

constexpr std::size_t kLongestText = 4096;
constexpr std::size_t kMostKeysAtOnce = 8;

// what() is a sentence for whoever sent the message.
class BadRequest : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// --- Arguments.

const std::string& text_argument(const json& message, const char* name) {
  const auto found = message.find(name);
  if (found == message.end() || !found->is_string())
    throw BadRequest(fmt::format("\"{}\" is missing or no string", name));
  const auto& text = found->get_ref<const std::string&>();
  if (text.empty() || text.size() > kLongestText)
    throw BadRequest(fmt::format("\"{}\" must have 1 to {} bytes", name, kLongestText));
  return text;
}

int number_argument(const json& message, const char* name, int low, int high, int otherwise) {
  const auto found = message.find(name);
  if (found == message.end()) return otherwise;
  if (!found->is_number_integer()) throw BadRequest(fmt::format("\"{}\" is no whole number", name));
  const double value = found->get<double>();
  if (value < low || value > high)
    throw BadRequest(fmt::format("\"{}\" must be from {} to {}", name, low, high));
  return static_cast<int>(value);
}

// --- Commands.

const char* kind_name(Mode::Kind kind) {
  switch (kind) {
    case Mode::Kind::kBlank:
      return "blank";
    case Mode::Kind::kText:
      return "text";
    default:
      return "graphics";
  }
}

json status(Machine& machine, const json&) {
  const Mode mode = machine.display().mode();
  return {{"screen", kind_name(mode.kind)},
          {"width", mode.width},
          {"height", mode.height},
          {"keys-waiting", machine.input().waiting()}};
}

json screen_text(Machine& machine, const json&) {
  const auto screen = machine.display().text();
  if (!screen) {
    const Mode mode = machine.display().mode();
    throw BadRequest(fmt::format("the screen shows no text: it is {} ({}x{})", kind_name(mode.kind),
                                 mode.width, mode.height));
  }
  json answer = {{"columns", screen->columns}, {"rows", screen->rows}, {"lines", json::array()}};
  for (u32 row = 0; row < screen->rows; ++row) answer["lines"].push_back(screen->line(row));
  if (screen->cursor) answer["cursor"] = {{"column", screen->cursor->column}, {"row", screen->cursor->row}};
  return answer;
}

json screenshot(Machine& machine, const json& message) {
  const std::string& path = text_argument(message, "file");
  if (path.find('\0') != std::string::npos) throw BadRequest("\"file\" holds a zero byte");
  devices::vga::Surface surface;
  machine.display().draw(surface, false);
  if (const std::string why = write_png(surface, path); !why.empty())
    throw BadRequest(fmt::format("{}: {}", path, why));
  return {{"width", surface.width()}, {"height", surface.height()}};
}

void must_fit(bool taken) {
  if (!taken) throw BadRequest("too many keys wait for the guest already; send them later");
}

json send_key(Machine& machine, const json& message) {
  std::vector<const devices::Key*> keys;
  for (const auto part : text_argument(message, "keys") | std::views::split('+')) {
    const std::string name(part.begin(), part.end());
    const auto* key = devices::key_by_name(name);
    if (!key) throw BadRequest(fmt::format("there is no key \"{}\"; names are as in ctrl+alt+delete", name));
    keys.push_back(key);
    if (keys.size() > kMostKeysAtOnce)
      throw BadRequest(fmt::format("more than {} keys at once", kMostKeysAtOnce));
  }
  must_fit(machine.input().chord(keys));
  return json::object();
}

json send_keys(Machine& machine, const json& message) {
  const std::string& text = text_argument(message, "text");
  bool shift = false;
  for (const char character : text)
    if (!devices::key_for_character(character, shift))
      throw BadRequest("\"text\" holds a character that a US keyboard cannot type");
  must_fit(machine.input().type(text));
  return json::object();
}

json move_mouse(Machine& machine, const json& message) {
  constexpr int kFarthest = 10'000, kAllButtons = 31;
  const int dx = number_argument(message, "dx", -kFarthest, kFarthest, 0),
            dy = number_argument(message, "dy", -kFarthest, kFarthest, 0),
            wheel = number_argument(message, "wheel", -kFarthest, kFarthest, 0),
            buttons = number_argument(message, "buttons", 0, kAllButtons, 0);
  machine.input().move_mouse(dx, -dy, wheel, static_cast<u8>(buttons));
  return json::object();
}

json balloon(Machine& machine, const json& message) {
  const int mebibytes = number_argument(message, "mib", 0, 1 << 24, 0);
  if (!machine.set_balloon(static_cast<u64>(mebibytes) << 20))
    throw BadRequest("the machine has no balloon; start it with --balloon");
  return json::object();
}

json reset(Machine& machine, const json&) {
  machine.reset();
  return json::object();
}

json quit(Machine& machine, const json&) {
  machine.stop();
  return json::object();
}

struct Command {
  const char* name;
  json (*run)(Machine&, const json& message);
  std::vector<std::string> arguments;
  bool slow = false;
};

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"status", status, {}},
      {"screen-text", screen_text, {}},
      {"screenshot", screenshot, {"file"}, true},
      {"send-key", send_key, {"keys"}},
      {"send-keys", send_keys, {"text"}},
      {"move-mouse", move_mouse, {"dx", "dy", "wheel", "buttons"}},
      {"balloon", balloon, {"mib"}},
      {"reset", reset, {}},
      {"quit", quit, {}},
  };
  return all;
}

// --- Messages.

std::string line_of(const json& answer) {
  return answer.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string refusal(const std::string& sentence) {
  return line_of({{"error", sentence}});
}

json parse(const std::string& line) {
  json message = json::parse(line, nullptr, false);
  if (!message.is_object()) throw BadRequest("the message is no JSON object");
  return message;
}

const Command& command_of(const json& message) {
  const std::string& name = text_argument(message, "execute");
  const auto found = std::ranges::find_if(commands(), [&](const Command& c) { return c.name == name; });
  if (found == commands().end()) {
    std::vector<std::string> names;
    for (const Command& command : commands()) names.emplace_back(command.name);
    throw BadRequest(fmt::format("there is no command \"{}\"; did you mean \"{}\"?", name.substr(0, 64),
                                 core::nearest_spelling(name.substr(0, 64), names)));
  }
  for (const auto& [key, value] : message.items())
    if (key != "execute" && std::ranges::find(found->arguments, key) == found->arguments.end())
      throw BadRequest(fmt::format("\"{}\" takes no argument \"{}\"", name, key.substr(0, 64)));
  return *found;
}

}  // namespace

Request understand(const std::string& line, Machine& machine) {
  try {
    json message = parse(line);
    const Command& command = command_of(message);
    return {.answer =
                [&command, &machine, message = std::move(message)] {
                  try {
                    return line_of({{"return", command.run(machine, message)}});
                  } catch (const std::exception& error) {
                    return refusal(error.what());
                  }
                },
            .slow = command.slow};
  } catch (const BadRequest& error) {
    return {.answer = [sentence = refusal(error.what())] { return sentence; }};
  }
}

}  // namespace doppel::machine
