#include "core/cli/smp_option.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <map>
#include <vector>

#include "core/cli/words.hpp"
#include "core/spelling.hpp"

namespace doppel::cli {

std::variant<machine::Topology, std::string> parse_smp_option(const std::string& text) {
  std::map<std::string, u32, std::less<>> given;
  const std::vector<std::string> names{"cpus", "sockets", "cores", "threads"};
  for (const std::string& word : split_at_commas(text)) {
    const auto [name, number] = word.find('=') == std::string::npos
                                    ? std::pair<std::string, std::string>("cpus", word)
                                    : name_and_value(word);
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      if (name == "maxcpus")
        return "maxcpus: processors cannot be added while the machine runs; leave it out";
      return fmt::format("{}: not known; did you mean \"{}\"?", name, core::nearest_spelling(name, names));
    }
    u32 value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (error != std::errc() || end != number.data() + number.size() || value == 0 ||
        value > machine::kMaxProcessors)
      return fmt::format("{}: write a number from 1 to {}", word, machine::kMaxProcessors);
    if (!given.emplace(name, value).second) return fmt::format("{}: {} is given twice", word, name);
  }
  const auto get = [&](const char* name) { return given.contains(name) ? given.at(name) : 0; };
  u32 cpus = get("cpus"), sockets = get("sockets"), cores = get("cores");
  const u32 threads = std::max(get("threads"), 1u);
  if (cpus == 0) cpus = std::max(sockets, 1u) * std::max(cores, 1u) * threads;
  if (cores == 0) cores = cpus / (std::max(sockets, 1u) * threads);
  if (sockets == 0) sockets = cpus / (std::max(cores, 1u) * threads);
  if (sockets * cores * threads != cpus)
    return fmt::format("{} processors cannot be {} sockets of {} cores of {} threads", cpus, sockets, cores,
                       threads);
  if (cpus > machine::kMaxProcessors)
    return fmt::format("{} processors; the most is {}", cpus, machine::kMaxProcessors);
  if (!std::has_single_bit(threads)) return fmt::format("threads={}: write a power of two", threads);
  if (sockets > 1 && !std::has_single_bit(cores))
    return fmt::format("cores={}: with several sockets, a power of two", cores);
  return machine::Topology{cpus, cores, threads};
}

}  // namespace doppel::cli
