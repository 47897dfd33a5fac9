#include <array>

#include "devices/vga/crtc_view.hpp"
#include "devices/vga/scanout.hpp"

namespace doppel::devices::vga {

namespace {

// Code page 437 as the VGA's ROM font draws it (Unicode consortium, "MICSFT/PC/CP437.TXT" and
// "IBMGRAPH.TXT").
constexpr std::u16string_view kCodePage =
    u" ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
    u" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~⌂"
    u"ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
    u"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
static_assert(kCodePage.size() == 256);

std::string encode(char16_t c) {
  const auto byte = [](u32 value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 0x3f))};
  return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 0x3f)), byte(0x80 | (c & 0x3f))};
}

}  // namespace

std::string_view utf8(u8 character) {
  static const auto kEncoded = [] {
    std::array<std::string, 256> all;
    for (u32 i = 0; i < all.size(); ++i) all[i] = encode(kCodePage[i]);
    return all;
  }();
  return kEncoded[character];
}

std::string TextScreen::line(u32 row) const {
  std::string text;
  for (u32 column = 0; column < columns; ++column) text += utf8(at(column, row).character);
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::optional<TextScreen> read_text(const Registers& r, std::span<const u8> memory) {
  if (mode(r).kind != Mode::Kind::kText) return std::nullopt;
  const CrtcView crtc(r);
  TextScreen screen;
  screen.columns = crtc.columns;
  screen.rows = crtc.lines / (crtc.row_height * crtc.repeat);
  for (u32 row = 0; row < screen.rows; ++row)
    for (u32 column = 0; column < screen.columns; ++column) {
      const u32 unit = crtc.unit(crtc.start + row * crtc.row_step, column);
      const u8* cell = &memory[std::size_t{crtc.plane_offset(unit, 0)} * 4];
      screen.cells.push_back({cell[0], cell[1]});
      if (crtc.cursor_on && crtc.cursor_first <= crtc.cursor_last && unit == crtc.cursor)
        screen.cursor = {column, row};
    }
  return screen;
}

}  // namespace doppel::devices::vga
