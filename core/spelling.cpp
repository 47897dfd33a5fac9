#include "core/spelling.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace doppel::core {
namespace {

// Levenshtein distance, row by row.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string fold_spelling(std::string_view word) {
  std::string out;
  for (const char c : word)
    if (c != '_' && c != '-' && c != '.' && c != ' ')
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string nearest_spelling(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string folded = fold_spelling(word);
  const auto distance = [&](const std::string& candidate) {
    return edit_distance(folded, fold_spelling(candidate));
  };
  const auto best = std::ranges::min_element(candidates, {}, distance);
  return best == candidates.end() ? "" : *best;
}

}  // namespace doppel::core
