// What the command says to its user. Whoever does not listen any more (a closed pipe) is no reason to fail:
// the exit status still tells the outcome.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace doppel::cli {

template <class... Args>
void print(std::FILE* to, fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), to);
}

}  // namespace doppel::cli
