// Splits what stands after an option at its commas and equals signs. Used by the parsers of such options.
#pragma once

#include <string>
#include <utility>
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

// The parts of "name=value"; without an equals sign all is name.
[[nodiscard]] inline std::pair<std::string, std::string> name_and_value(const std::string& word) {
  const std::size_t equals = word.find('=');
  return {word.substr(0, equals), equals == std::string::npos ? "" : word.substr(equals + 1)};
}

}  // namespace doppel::cli
