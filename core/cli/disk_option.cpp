#include "core/cli/disk_option.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "core/cli/words.hpp"
#include "core/spelling.hpp"

namespace doppel::cli {
namespace {

using machine::DiskConfig;

template <class Value>
std::string choose(const std::string& key, const std::string& word, const std::map<std::string, Value>& known,
                   Value& value) {
  if (const auto it = known.find(word); it != known.end()) {
    value = it->second;
    return "";
  }
  std::vector<std::string> names;
  for (const auto& [name, unused] : known) names.push_back(name);
  return fmt::format("{}={}: not known; did you mean \"{}\"?", key, word,
                     core::nearest_spelling(word, names));
}

std::string choose_format(const std::string& word, std::string& format) {
  const auto& names = machine::disk_formats();
  if (std::find(names.begin(), names.end(), word) == names.end())
    return fmt::format("format={}: not known; did you mean \"{}\"?", word,
                       core::nearest_spelling(word, names));
  format = word;
  return "";
}

// Empty, or what is wrong.
std::string apply(const std::string& key, const std::string& value, DiskConfig& disk) {
  using Interface = DiskConfig::Interface;
  using Cache = DiskConfig::Cache;
  static const std::map<std::string, Interface> kInterfaces = {
      {"virtio", Interface::kVirtio}, {"ide", Interface::kIde}, {"floppy", Interface::kFloppy}};
  static const std::map<std::string, Cache> kCaches = {
      {"writeback", Cache::kWriteback}, {"writethrough", Cache::kWritethrough}, {"unsafe", Cache::kUnsafe}};
  static const std::map<std::string, bool> kSwitch = {{"", true}, {"on", true}, {"off", false}};
  static const std::map<std::string, bool> kMedia = {{"disk", false}, {"cdrom", true}};
  if (key == "file") {
    disk.path = value;
    return "";
  }
  if (key == "if") {
    if (value == "pflash")
      return "if=pflash: use --bios CODE.fd for the firmware and --nvram VARS.fd for its variables";
    const bool cdrom = disk.interface == Interface::kCdrom;
    const std::string error = choose(key, value, kInterfaces, disk.interface);
    if (cdrom && disk.interface == Interface::kIde) disk.interface = Interface::kCdrom;
    return error;
  }
  if (key == "media") {
    bool cdrom = false;
    const std::string error = choose(key, value, kMedia, cdrom);
    if (cdrom) disk.interface = Interface::kCdrom;
    return error;
  }
  if (key == "cache") return choose(key, value, kCaches, disk.cache);
  if (key == "format") return choose_format(value, disk.format);
  if (key == "readonly" || key == "read-only") return choose(key, value, kSwitch, disk.read_only);
  if (key == "snapshot") return choose(key, value, kSwitch, disk.snapshot);
  return fmt::format("{}: not known; did you mean \"{}\"?", key,
                     core::nearest_spelling(key, {"if", "format", "readonly", "snapshot", "cache"}));
}

DiskConfig::Interface interface_of(const std::string& option) {
  if (option == "--cdrom") return DiskConfig::Interface::kCdrom;
  if (option == "--floppy") return DiskConfig::Interface::kFloppy;
  return option == "--disk" ? DiskConfig::Interface::kVirtio : DiskConfig::Interface::kIde;
}

}  // namespace

std::variant<DiskConfig, std::string> parse_disk(const std::string& option, const std::string& text) {
  DiskConfig disk;
  disk.interface = interface_of(option);
  std::vector<std::string> words = split_at_commas(text);
  if (words.front().find('=') == std::string::npos || option != "-drive") {
    disk.path = words.front();
    words.erase(words.begin());
  }
  for (const std::string& word : words) {
    const auto [name, value] = name_and_value(word);
    if (const std::string error = apply(name, value, disk); !error.empty())
      return fmt::format("{} {}: {}", option, text, error);
  }
  if (disk.path.empty())
    return fmt::format("{} {}: there is no file name; write it first, as in {}.", option, text,
                       option == "-drive" ? "-drive file=debian.img" : option + " debian.img,snapshot");
  return disk;
}

}  // namespace doppel::cli
