// The nearest valid spelling of a word that is not known: for error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace doppel::core {

// A word without case and punctuation: "SSE4.2", "sse4-2" and "sse4_2" are one word.
[[nodiscard]] std::string fold_spelling(std::string_view word);

// The candidate with the smallest edit distance to `word`, both folded; the first of equals. "" if there are
// none.
[[nodiscard]] std::string nearest_spelling(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace doppel::core
