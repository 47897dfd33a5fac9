// The keys of a PC keyboard (US layout, 104 keys) by name, by the character they type and by the X keysym
// that remote displays send, with their scan codes. For whoever feeds devices/ps2_keyboard from the host
// side.
#pragma once

#include <boost/container/static_vector.hpp>
#include <string_view>

#include "core/types.hpp"

namespace doppel::devices {

struct Key {
  std::string_view name;  // "a", "enter", "f1", "left-shift"
  u16 code;               // scan code set 2; 0xe0 in the high byte: extended
  u32 keysym = 0;         // X11's, for keys that type no ASCII character
  char plain = 0, shifted = 0;
};

using Scancodes = boost::container::static_vector<u8, 8>;
[[nodiscard]] Scancodes press(const Key& key);
[[nodiscard]] Scancodes release(const Key& key);

// nullptr if there is none. Names: those of the table, and common other ones ("return", "ctrl", "shift").
[[nodiscard]] const Key* key_by_name(std::string_view name);
[[nodiscard]] const Key* key_by_keysym(u32 keysym);
// Whether it needs Shift comes in `shift`.
[[nodiscard]] const Key* key_for_character(char character, bool& shift);

}  // namespace doppel::devices
