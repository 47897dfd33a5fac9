// What a monitor on the VGA shows: text with its font, planar and 256-colour graphics, and the packed modes
// of the VBE extensions, drawn from a copy of the registers and the video memory itself. The guest may write
// meanwhile; then a picture is torn, as on a real screen. Called by whoever looks, on any thread; knows no
// chip.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/vga/registers.hpp"
#include "devices/vga/surface.hpp"

namespace doppel::devices::vga {

// What blinks at the moment. Still pictures show everything.
struct Blink {
  bool cursor = true;
  bool text = true;
};

struct Mode {
  enum class Kind { kBlank, kText, kGraphics, kPacked };
  Kind kind;
  u32 width, height;  // pixels as a monitor shows them
};
[[nodiscard]] Mode mode(const Registers& registers);

// Draws all of it; `surface` takes the mode's size.
void draw(const Registers& registers, std::span<const u8> memory, Blink blink, Surface& surface);

// The characters of a text mode.
struct TextScreen {
  struct Cell {
    u8 character;  // code page 437, with the BIOS' font
    u8 attribute;
    bool operator==(const Cell&) const = default;
  };
  u32 columns = 0, rows = 0;
  std::vector<Cell> cells;  // row by row
  struct Cursor {
    u32 column, row;
    bool operator==(const Cursor&) const = default;
  };
  std::optional<Cursor> cursor;  // if it shows

  [[nodiscard]] const Cell& at(u32 column, u32 row) const { return cells[row * columns + column]; }
  // A row in UTF-8, without blanks at its end.
  [[nodiscard]] std::string line(u32 row) const;
  bool operator==(const TextScreen&) const = default;
};
// Empty: the screen does not show text.
[[nodiscard]] std::optional<TextScreen> read_text(const Registers& registers, std::span<const u8> memory);

// A character of code page 437 in UTF-8.
[[nodiscard]] std::string_view utf8(u8 character);

}  // namespace doppel::devices::vga
