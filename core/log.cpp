#include "core/log.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>

namespace doppel::core {

const std::vector<std::string>& log_category_names() {
  static const std::vector<std::string> names = {"cpu",  "mmu",     "jit",     "int",   "msr",
                                                 "port", "mmio",    "pci",     "timer", "serial",
                                                 "boot", "machine", "storage", "net"};
  static_assert(static_cast<int>(LogCategory::kCount) == 14, "one name per category");
  return names;
}

std::string enable_log(std::string_view categories) {
  const auto& names = log_category_names();
  while (!categories.empty()) {
    const auto comma = categories.find(',');
    const std::string_view one = categories.substr(0, comma);
    categories = comma == std::string_view::npos ? "" : categories.substr(comma + 1);
    if (one == "all") {
      log_detail::enabled_mask = ~0u;
      continue;
    }
    const auto it = std::find(names.begin(), names.end(), one);
    if (it == names.end()) return std::string(one);
    log_detail::enabled_mask |= 1u << (it - names.begin());
  }
  return "";
}

namespace log_detail {
void write(LogCategory category, std::string_view message) {
  static const auto logger = [] {
    auto l = spdlog::stderr_color_mt("doppel");
    l->set_pattern("%H:%M:%S.%e %v");
    return l;
  }();
  logger->info("[{}] {}", log_category_names()[static_cast<u32>(category)], message);
}
}  // namespace log_detail

void check_failed(const char* file, int line, std::string_view condition, std::string_view message) {
  fmt::print(stderr, "doppel: internal error at {}:{}: {} is false. {}\n", file, line, condition, message);
  std::abort();
}

}  // namespace doppel::core
