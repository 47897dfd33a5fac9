#include "bios/boot_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/spelling.hpp"

namespace doppel::bios {

namespace {

constexpr std::string_view kKinds = "abcdn";
constexpr std::array<u8, 5> kCmosCodes = {1, 1, 2, 3, 4};  // of kKinds
constexpr u32 kLongestWait = 0xffff;  // ms; both files are read as 16 bits by some firmware

using Error = std::optional<std::string>;

Error read_order(std::string_view value, std::string& order) {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (kKinds.find(value[i]) == kKinds.npos)
      return fmt::format("\"{}\" is no kind of device; write a (floppy), c (disk), d (CD) or n (network)",
                         value[i]);
    if (value.find(value[i], i + 1) != value.npos) return fmt::format("\"{}\" is there twice", value[i]);
  }
  if (value.empty()) return "an order needs a letter: a (floppy), c (disk), d (CD) or n (network)";
  order = value;
  return std::nullopt;
}

Error read_switch(std::string_view value, bool& on) {
  on = value == "on";
  if (on || value == "off") return std::nullopt;
  return fmt::format("\"{}\" is neither on nor off", value);
}

Error read_wait(std::string_view value, std::optional<u32>& wait) {
  u32 number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number > kLongestWait)
    return fmt::format("\"{}\" is not a time in milliseconds up to {}", value, kLongestWait);
  wait = number;
  return std::nullopt;
}

Error read_setting(std::string_view name, std::string_view value, BootOptions& options) {
  if (name == "order") return read_order(value, options.order);
  if (name == "once") return read_order(value, options.once);
  if (name == "menu") return read_switch(value, options.menu);
  if (name == "strict") return read_switch(value, options.strict);
  if (name == "splash-time") return read_wait(value, options.menu_wait_ms);
  if (name == "reboot-timeout") return read_wait(value, options.retry_wait_ms);
  return fmt::format(
      "\"{}\" is not known; did you mean \"{}\"?", name,
      core::nearest_spelling(name, {"order", "once", "menu", "strict", "splash-time", "reboot-timeout"}));
}

}  // namespace

std::variant<BootOptions, std::string> parse_boot_options(std::string_view text) {
  BootOptions options;
  for (bool first = true; first || !text.empty(); first = false) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    const auto equals = part.find('=');
    // Letters alone, at the beginning, are the order.
    const bool letters = first && equals == part.npos;
    const std::string_view name = letters ? "order" : part.substr(0, equals);
    const std::string_view value = letters               ? part
                                   : equals == part.npos ? std::string_view{}
                                                         : part.substr(equals + 1);
    if (auto error = read_setting(name, value, options)) return *error;
  }
  return options;
}

CmosBootOrder cmos_boot_order(std::string_view order) {
  std::array<u8, 3> codes{};
  for (std::size_t i = 0; i < std::min(order.size(), codes.size()); ++i)
    codes[i] = kCmosCodes[kKinds.find(order[i])];
  return {.third = static_cast<u8>(codes[2] << 4), .first = static_cast<u8>(codes[1] << 4 | codes[0])};
}

}  // namespace doppel::bios
