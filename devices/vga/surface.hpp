// A picture in memory: 32 bits a pixel, 0x00rrggbb. It is drawn row by row, and knows which part differs from
// what was there before, so that viewers send only that.
#pragma once

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices::vga {

struct Rectangle {
  u32 x, y, width, height;
};

class Surface {
 public:
  [[nodiscard]] u32 width() const { return width_; }
  [[nodiscard]] u32 height() const { return height_; }
  [[nodiscard]] std::span<const u32> pixels() const { return pixels_; }
  [[nodiscard]] std::span<const u32> row(u32 y) const {
    return std::span(pixels_).subspan(std::size_t{y} * width_, width_);
  }
  [[nodiscard]] u32 at(u32 x, u32 y) const { return pixels_[std::size_t{y} * width_ + x]; }

  // Black, and all of it changed, if the size is another one.
  void resize(u32 width, u32 height) {
    if (width == width_ && height == height_) return;
    width_ = width;
    height_ = height;
    pixels_.assign(std::size_t{width} * height, 0);
    damage_ = {{0, 0, width, height}};
    resized_ = true;
  }
  // Replaces row `y`; `row` has width() pixels.
  void set_row(u32 y, std::span<const u32> row) {
    const auto old = pixels_.begin() + static_cast<std::ptrdiff_t>(std::size_t{y} * width_);
    if (std::equal(row.begin(), row.end(), old)) return;  // the usual case, and the fast one
    const auto first = std::mismatch(row.begin(), row.end(), old).first;
    const auto last = std::mismatch(row.rbegin(), row.rend(), std::make_reverse_iterator(old + width_)).first;
    std::copy(row.begin(), row.end(), old);
    mark(y, static_cast<u32>(first - row.begin()), static_cast<u32>(row.rend() - last));
  }

  // What changed since the last call, as few rectangles.
  [[nodiscard]] std::vector<Rectangle> take_damage() { return std::exchange(damage_, {}); }
  // Whether the size changed since the last call.
  [[nodiscard]] bool take_resized() { return std::exchange(resized_, false); }

 private:
  // Rows come in order: one that follows the last rectangle makes it larger.
  void mark(u32 y, u32 from, u32 to) {
    if (!damage_.empty()) {
      Rectangle& last = damage_.back();
      if (y >= last.y && y <= last.y + last.height) {
        const u32 right = std::max(to, last.x + last.width);
        last.x = std::min(from, last.x);
        last.width = right - last.x;
        last.height = std::max(last.height, y - last.y + 1);
        return;
      }
    }
    damage_.push_back({from, y, to - from, 1});
  }

  u32 width_ = 0, height_ = 0;
  std::vector<u32> pixels_;
  std::vector<Rectangle> damage_;
  bool resized_ = false;
};

}  // namespace doppel::devices::vga
