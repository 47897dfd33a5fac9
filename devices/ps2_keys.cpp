#include "devices/ps2_keys.hpp"

#include <algorithm>
#include <utility>

namespace doppel::devices {

namespace {

// Codes: Microsoft, "Keyboard Scan Code Specification", appendix A; keysyms: X11, keysymdef.h.
constexpr u16 kPrintScreen = 0xe07c, kPause = 0xe114;
constexpr Key kKeys[] = {
    {"a", 0x1c, 0, 'a', 'A'},
    {"b", 0x32, 0, 'b', 'B'},
    {"c", 0x21, 0, 'c', 'C'},
    {"d", 0x23, 0, 'd', 'D'},
    {"e", 0x24, 0, 'e', 'E'},
    {"f", 0x2b, 0, 'f', 'F'},
    {"g", 0x34, 0, 'g', 'G'},
    {"h", 0x33, 0, 'h', 'H'},
    {"i", 0x43, 0, 'i', 'I'},
    {"j", 0x3b, 0, 'j', 'J'},
    {"k", 0x42, 0, 'k', 'K'},
    {"l", 0x4b, 0, 'l', 'L'},
    {"m", 0x3a, 0, 'm', 'M'},
    {"n", 0x31, 0, 'n', 'N'},
    {"o", 0x44, 0, 'o', 'O'},
    {"p", 0x4d, 0, 'p', 'P'},
    {"q", 0x15, 0, 'q', 'Q'},
    {"r", 0x2d, 0, 'r', 'R'},
    {"s", 0x1b, 0, 's', 'S'},
    {"t", 0x2c, 0, 't', 'T'},
    {"u", 0x3c, 0, 'u', 'U'},
    {"v", 0x2a, 0, 'v', 'V'},
    {"w", 0x1d, 0, 'w', 'W'},
    {"x", 0x22, 0, 'x', 'X'},
    {"y", 0x35, 0, 'y', 'Y'},
    {"z", 0x1a, 0, 'z', 'Z'},
    {"1", 0x16, 0, '1', '!'},
    {"2", 0x1e, 0, '2', '@'},
    {"3", 0x26, 0, '3', '#'},
    {"4", 0x25, 0, '4', '$'},
    {"5", 0x2e, 0, '5', '%'},
    {"6", 0x36, 0, '6', '^'},
    {"7", 0x3d, 0, '7', '&'},
    {"8", 0x3e, 0, '8', '*'},
    {"9", 0x46, 0, '9', '('},
    {"0", 0x45, 0, '0', ')'},
    {"minus", 0x4e, 0, '-', '_'},
    {"equal", 0x55, 0, '=', '+'},
    {"left-bracket", 0x54, 0, '[', '{'},
    {"right-bracket", 0x5b, 0, ']', '}'},
    {"backslash", 0x5d, 0, '\\', '|'},
    {"semicolon", 0x4c, 0, ';', ':'},
    {"apostrophe", 0x52, 0, '\'', '"'},
    {"grave", 0x0e, 0, '`', '~'},
    {"comma", 0x41, 0, ',', '<'},
    {"period", 0x49, 0, '.', '>'},
    {"slash", 0x4a, 0, '/', '?'},
    {"space", 0x29, 0, ' ', 0},
    {"enter", 0x5a, 0xff0d, '\n', 0},
    {"tab", 0x0d, 0xff09, '\t', 0},
    {"backspace", 0x66, 0xff08, '\b', 0},
    {"escape", 0x76, 0xff1b, '\x1b', 0},
    {"less", 0x61},  // the key beside the left Shift of European keyboards
    {"f1", 0x05, 0xffbe},
    {"f2", 0x06, 0xffbf},
    {"f3", 0x04, 0xffc0},
    {"f4", 0x0c, 0xffc1},
    {"f5", 0x03, 0xffc2},
    {"f6", 0x0b, 0xffc3},
    {"f7", 0x83, 0xffc4},
    {"f8", 0x0a, 0xffc5},
    {"f9", 0x01, 0xffc6},
    {"f10", 0x09, 0xffc7},
    {"f11", 0x78, 0xffc8},
    {"f12", 0x07, 0xffc9},
    {"left-shift", 0x12, 0xffe1},
    {"right-shift", 0x59, 0xffe2},
    {"left-ctrl", 0x14, 0xffe3},
    {"right-ctrl", 0xe014, 0xffe4},
    {"left-alt", 0x11, 0xffe9},
    {"right-alt", 0xe011, 0xffea},
    {"left-super", 0xe01f, 0xffeb},
    {"right-super", 0xe027, 0xffec},
    {"menu", 0xe02f, 0xff67},
    {"caps-lock", 0x58, 0xffe5},
    {"num-lock", 0x77, 0xff7f},
    {"scroll-lock", 0x7e, 0xff14},
    {"print-screen", kPrintScreen, 0xff61},
    {"pause", kPause, 0xff13},
    {"insert", 0xe070, 0xff63},
    {"delete", 0xe071, 0xffff},
    {"home", 0xe06c, 0xff50},
    {"end", 0xe069, 0xff57},
    {"page-up", 0xe07d, 0xff55},
    {"page-down", 0xe07a, 0xff56},
    {"up", 0xe075, 0xff52},
    {"down", 0xe072, 0xff54},
    {"left", 0xe06b, 0xff51},
    {"right", 0xe074, 0xff53},
    {"keypad-0", 0x70, 0xffb0},
    {"keypad-1", 0x69, 0xffb1},
    {"keypad-2", 0x72, 0xffb2},
    {"keypad-3", 0x7a, 0xffb3},
    {"keypad-4", 0x6b, 0xffb4},
    {"keypad-5", 0x73, 0xffb5},
    {"keypad-6", 0x74, 0xffb6},
    {"keypad-7", 0x6c, 0xffb7},
    {"keypad-8", 0x75, 0xffb8},
    {"keypad-9", 0x7d, 0xffb9},
    {"keypad-period", 0x71, 0xffae},
    {"keypad-enter", 0xe05a, 0xff8d},
    {"keypad-plus", 0x79, 0xffab},
    {"keypad-minus", 0x7b, 0xffad},
    {"keypad-multiply", 0x7c, 0xffaa},
    {"keypad-divide", 0xe04a, 0xffaf},
};

constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"return", "enter"},     {"ret", "enter"},          {"esc", "escape"},   {"shift", "left-shift"},
    {"ctrl", "left-ctrl"},   {"control", "left-ctrl"},  {"alt", "left-alt"}, {"altgr", "right-alt"},
    {"super", "left-super"}, {"del", "delete"},         {"ins", "insert"},   {"pgup", "page-up"},
    {"pgdn", "page-down"},   {"sysrq", "print-screen"}, {"break", "pause"},
};

// Keysyms of the same keys in another state (Num Lock off, Shift held) or on other keyboards.
constexpr std::pair<u32, u32> kOtherKeysyms[] = {
    {0xff95, 0xffb7},
    {0xff96, 0xffb4},
    {0xff97, 0xffb8},
    {0xff98, 0xffb6},
    {0xff99, 0xffb2},
    {0xff9a, 0xffb9},
    {0xff9b, 0xffb3},
    {0xff9c, 0xffb1},
    {0xff9d, 0xffb5},
    {0xff9e, 0xffb0},
    {0xff9f, 0xffae},
    {0xffac, 0xffae},
    {0xfe20, 0xff09} /* Shift-Tab */,
    {0xff15, 0xff61} /* SysRq */,
    {0xff6b, 0xff13} /* Break */,
    {0xffe7, 0xffe9} /* Meta */,
    {0xffe8, 0xffea},
    {0xfe03, 0xffea} /* AltGr */,
    {0xff7e, 0xffea} /* Mode switch */,
    {0xff0a, 0xff0d} /* Linefeed */,
};

template <class Predicate>
const Key* find(Predicate predicate) {
  const auto* key = std::ranges::find_if(kKeys, predicate);
  return key == std::end(kKeys) ? nullptr : key;
}

}  // namespace

Scancodes press(const Key& key) {
  if (key.code == kPause) return {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};
  if (key.code == kPrintScreen) return {0xe0, 0x12, 0xe0, 0x7c};
  if (key.code >> 8) return {0xe0, static_cast<u8>(key.code)};
  return {static_cast<u8>(key.code)};
}

Scancodes release(const Key& key) {
  if (key.code == kPause) return {};  // the key says both at once
  if (key.code == kPrintScreen) return {0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12};
  if (key.code >> 8) return {0xe0, 0xf0, static_cast<u8>(key.code)};
  return {0xf0, static_cast<u8>(key.code)};
}

const Key* key_by_name(std::string_view name) {
  for (const auto& [other, usual] : kOtherNames)
    if (name == other) name = usual;
  return find([&](const Key& key) { return key.name == name; });
}

const Key* key_by_keysym(u32 keysym) {
  bool shift;
  if (keysym >= 0x20 && keysym < 0x7f) return key_for_character(static_cast<char>(keysym), shift);
  for (const auto& [other, usual] : kOtherKeysyms)
    if (keysym == other) keysym = usual;
  return find([&](const Key& key) { return key.keysym != 0 && key.keysym == keysym; });
}

const Key* key_for_character(char character, bool& shift) {
  if (character == '\r') character = '\n';
  if (character == '\x7f') character = '\b';
  if (character == 0) return nullptr;
  const Key* key = find([&](const Key& k) { return k.plain == character || k.shifted == character; });
  shift = key && key->shifted == character;
  return key;
}

}  // namespace doppel::devices
