// The CRT controller's registers as the numbers they stand for: sizes, start address, and how rows become
// memory addresses. For the scanout. Source: IBM, "VGA Hardware Reference", "CRT Controller Registers".
#pragma once

#include "devices/vga/registers.hpp"

namespace doppel::devices::vga {

struct CrtcView {
  explicit CrtcView(const Registers& r);

  u32 columns;                    // characters of a line, 8 or 9 dots each
  u32 lines;                      // scan lines
  u32 row_height;                 // scan lines of a row of characters, before doubling
  u32 repeat;                     // how often every scan line is shown: 1 or 2
  u32 row_step;                   // address units from one row to the next
  u32 start;                      // of the first row, in address units
  u32 first_scan;                 // scan line within its row at which the picture begins
  u32 line_compare;               // after this line the second part begins, at address 0
  u32 cursor;                     // where it is, in address units
  u32 cursor_first, cursor_last;  // its scan lines within the row
  bool cursor_on;
  u32 underline;  // scan line within the row
  u8 mode;        // the mode control register
  bool doublewords;
  u8 count_shift;  // the address moves once in 1 << count_shift characters

  // Address of character `column` of a row that begins at `row`.
  [[nodiscard]] u32 unit(u32 row, u32 column) const { return row + (column >> count_shift); }
  // The plane offset that the controller puts out for it in scan line `scan` of the row.
  [[nodiscard]] u32 plane_offset(u32 unit, u32 scan) const;
};

}  // namespace doppel::devices::vga
