// Splits what stands after an option at its commas. Used by the parsers of such options.
#pragma once

#include <string>
#include <vector>

namespace doppel::cli {

// A double comma stands for one and does not split.
[[nodiscard]] inline std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      words.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      words.back() += ',';
      ++i;
    } else {
      words.emplace_back();
    }
  }
  return words;
}

}  // namespace doppel::cli
