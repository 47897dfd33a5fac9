#include "devices/ps2_keys.hpp"

#include <doctest.h>

#include <set>
#include <string>

namespace doppel::devices {
namespace {

std::string hex(const Scancodes& codes) {
  std::string text;
  for (const u8 code : codes) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += {kDigits[code >> 4], kDigits[code & 15]};
  }
  return text;
}

TEST_CASE("keys by name: what they send") {
  struct Case {
    const char *name, *press, *release;
  };
  for (const Case& c :
       {Case{"a", "1c", "f01c"}, Case{"return", "5a", "f05a"}, Case{"right-ctrl", "e014", "e0f014"},
        Case{"up", "e075", "e0f075"}, Case{"f7", "83", "f083"},
        Case{"print-screen", "e012e07c", "e0f07ce0f012"}, Case{"pause", "e11477e1f014f077", ""}}) {
    CAPTURE(c.name);
    const Key* key = key_by_name(c.name);
    REQUIRE(key);
    CHECK(hex(press(*key)) == c.press);
    CHECK(hex(release(*key)) == c.release);
  }
  CHECK_FALSE(key_by_name("any"));
  CHECK_FALSE(key_by_name(""));
}

TEST_CASE("every printable ASCII character has a key, and its keysym the same one") {
  std::set<std::pair<const Key*, bool>> seen;
  for (char c = ' '; c < 0x7f; ++c) {
    CAPTURE(c);
    bool shift = false;
    const Key* key = key_for_character(c, shift);
    REQUIRE(key);
    CHECK(seen.emplace(key, shift).second);
    CHECK(key_by_keysym(static_cast<u32>(c)) == key);
  }
  bool shift = true;
  CHECK(key_for_character('\r', shift) == key_by_name("enter"));
  CHECK_FALSE(shift);
  CHECK_FALSE(key_for_character('\xe4', shift));
  CHECK_FALSE(key_for_character('\0', shift));
}

TEST_CASE("keysyms of keys that type nothing") {
  for (const auto& [keysym, name] : {std::pair<u32, const char*>{0xff0d, "enter"},
                                     {0xffe1, "shift"},
                                     {0xff9f, "keypad-period"},
                                     {0xfe20, "tab"},
                                     {0xffea, "altgr"},
                                     {0xffc9, "f12"},
                                     {0xff8d, "keypad-enter"}}) {
    CAPTURE(keysym);
    CHECK(key_by_keysym(keysym) == key_by_name(name));
  }
  for (const u32 keysym : {0u, 1u, 0x1fu, 0x7fu, 0xe4u, 0xfe50u, 0xffffffffu})
    CHECK_FALSE(key_by_keysym(keysym));
}

}  // namespace
}  // namespace doppel::devices
