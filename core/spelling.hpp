// The nearest valid spelling of a word that is not known: for error messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace doppel::core {

// The candidate with the smallest edit distance to `word`; the first of equals. "" if there are none.
[[nodiscard]] std::string nearest_spelling(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace doppel::core
