#include "core/machine/terminal_keys.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace doppel::machine {

namespace {

constexpr char kEscape = 0x1b;

// After ESC: "[" or "O", parameters, and the byte that ends it. XTerm Control Sequences, "PC-Style Function
// Keys".
constexpr std::pair<std::string_view, std::string_view> kSequences[] = {
    {"[A", "up"},    {"[B", "down"},     {"[C", "right"},      {"[D", "left"},    {"[H", "home"},
    {"[F", "end"},   {"OA", "up"},       {"OB", "down"},       {"OC", "right"},   {"OD", "left"},
    {"OH", "home"},  {"OF", "end"},      {"[1~", "home"},      {"[2~", "insert"}, {"[3~", "delete"},
    {"[4~", "end"},  {"[5~", "page-up"}, {"[6~", "page-down"}, {"[7~", "home"},   {"[8~", "end"},
    {"OP", "f1"},    {"OQ", "f2"},       {"OR", "f3"},         {"OS", "f4"},      {"[11~", "f1"},
    {"[12~", "f2"},  {"[13~", "f3"},     {"[14~", "f4"},       {"[15~", "f5"},    {"[17~", "f6"},
    {"[18~", "f7"},  {"[19~", "f8"},     {"[20~", "f9"},       {"[21~", "f10"},   {"[23~", "f11"},
    {"[24~", "f12"}, {"[[A", "f1"},      {"[[B", "f2"},        {"[[C", "f3"},     {"[[D", "f4"},
    {"[[E", "f5"},
};

Chord character(char c) {
  bool shift = false;
  if (const auto* key = devices::key_for_character(c, shift)) {
    if (shift) return {devices::key_by_name("shift"), key};
    return {key};
  }
  constexpr std::string_view kWithControl = " abcdefghijklmnopqrstuvwxyz[\\]6-";
  if (const auto code = static_cast<u8>(c); code < kWithControl.size())
    return {devices::key_by_name("ctrl"), devices::key_for_character(kWithControl[code], shift)};
  return {};
}

// Length of the sequence that `text`, which follows an ESC, begins with; 0: it is none.
std::size_t sequence_length(std::string_view text) {
  if (text.empty() || (text[0] != '[' && text[0] != 'O')) return 0;
  std::size_t end = 1;
  if (end < text.size() && text[end] == '[') ++end;  // the Linux console's function keys
  while (end < text.size() && ((text[end] >= '0' && text[end] <= '9') || text[end] == ';')) ++end;
  return end < text.size() ? end + 1 : 0;
}

}  // namespace

std::vector<Chord> keys_from_terminal(std::span<const u8> bytes) {
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<Chord> keys;
  const auto add = [&](Chord chord) {
    if (!chord.empty()) keys.push_back(std::move(chord));
  };
  while (!text.empty()) {
    const char first = text.front();
    text.remove_prefix(1);
    if (first != kEscape || text.empty() || text.front() == kEscape) {
      add(character(first));
    } else if (const std::size_t length = sequence_length(text)) {
      const auto* found =
          std::ranges::find(kSequences, text.substr(0, length), [](const auto& row) { return row.first; });
      if (found != std::end(kSequences)) add({devices::key_by_name(found->second)});
      text.remove_prefix(length);
    } else {
      Chord chord = character(text.front());
      if (!chord.empty()) chord.insert(chord.begin(), devices::key_by_name("alt"));
      add(std::move(chord));
      text.remove_prefix(1);
    }
  }
  return keys;
}

}  // namespace doppel::machine
