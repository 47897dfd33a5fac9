#include "core/spelling.hpp"

#include <doctest.h>

using namespace doppel::core;

TEST_CASE("the nearest spelling has the fewest letters inserted, removed or replaced") {
  struct Case {
    const char* word;
    std::vector<std::string> candidates;
    const char* nearest;
  };
  for (const Case& c : {Case{"--kernle", {"--initrd", "--kernel", "--append"}, "--kernel"},  // two replaced
                        Case{"aple", {"maple", "apple", "ape"}, "maple"},  // the first of equals
                        Case{"aplle", {"maple", "apple", "ape"}, "apple"},
                        Case{"", {"stdio", "null"}, "null"},  // all inserted
                        Case{"kitten", {"sitting", "knit"}, "sitting"},
                        Case{"nil", {"stdio", "null"}, "null"}, Case{"x", {}, ""}}) {
    CAPTURE(c.word);
    CHECK(nearest_spelling(c.word, c.candidates) == c.nearest);
  }
}

TEST_CASE("case and punctuation do not count") {
  for (const char* word : {"SSE4.2", "sse4-2", "sse4_2", "Sse 42"}) {
    CAPTURE(word);
    CHECK(fold_spelling(word) == "sse42");
    CHECK(nearest_spelling(word, {"sse4_1", "sse3", "sse4_2", "sse4a"}) == "sse4_2");
  }
  CHECK(nearest_spelling("--noreboot", {"--reboots", "--no-reboot"}) == "--no-reboot");
  CHECK(fold_spelling("-_.") == "");
}
