// Debug log by category, chosen with `--debug cpu,mmu,…`. Disabled categories cost one load and test.
// Messages go to stderr through spdlog; guest mistakes are logged here, never fatal.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace doppel::core {

enum class LogCategory : u8 {
  kCpu,
  kMmu,
  kJit,
  kInterrupt,
  kMsr,
  kPort,
  kMmio,
  kPci,
  kTimer,
  kSerial,
  kBoot,
  kMachine,
  kStorage,
  kNet,
  kCount
};

namespace log_detail {
inline u32 enabled_mask = 0;
void write(LogCategory category, std::string_view message);
}  // namespace log_detail

[[nodiscard]] inline bool log_enabled(LogCategory c) {
  return log_detail::enabled_mask >> static_cast<u32>(c) & 1;
}

// All names `--debug` accepts, in the order of LogCategory ("cpu", "mmu", ...).
[[nodiscard]] const std::vector<std::string>& log_category_names();

// Enables the comma-separated categories ("all" for every one). Returns the first unknown name, or "".
[[nodiscard]] std::string enable_log(std::string_view categories);

template <class... Args>
void log(LogCategory category, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(category)) log_detail::write(category, fmt::format(format, std::forward<Args>(args)...));
}

// A bug of ours: prints the message to stderr and aborts. `DOPPEL_CHECK(condition, "format", args...)`.
[[noreturn]] void check_failed(const char* file, int line, std::string_view condition,
                               std::string_view message);

}  // namespace doppel::core

#define DOPPEL_CHECK(condition, ...)                                                             \
  do {                                                                                           \
    if (!(condition)) [[unlikely]]                                                               \
      ::doppel::core::check_failed(__FILE__, __LINE__, #condition, fmt::format("" __VA_ARGS__)); \
  } while (false)
