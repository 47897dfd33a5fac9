#include "core/machine/text_viewer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <iterator>

namespace doppel::machine {

using devices::vga::Mode;
using devices::vga::TextScreen;

namespace {

constexpr auto kFrame = std::chrono::milliseconds(33);
// ECMA-48, 8.3: the other screen, no wrapping at the margin; and back.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?7l\x1b[2J";
constexpr const char* kLeave = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

// The VGA's colours are blue, green, red from bit 0; a terminal's red, green, blue.
int colour(u8 vga) {
  return (vga & 4) >> 2 | (vga & 2) | (vga & 1) << 2;
}

std::string style(u8 attribute) {
  const u8 foreground = attribute & 15, background = attribute >> 4 & 7;
  return fmt::format("\x1b[0;{};{}{}m", (foreground & 8 ? 90 : 30) + colour(foreground),
                     40 + colour(background), attribute & 0x80 ? ";5" : "");
}

}  // namespace

std::string terminal_update(const std::optional<TextScreen>& before, const TextScreen& now) {
  std::string out;
  const bool same_size = before && before->columns == now.columns && before->rows == now.rows;
  if (!same_size) out += "\x1b[0m\x1b[2J";
  for (u32 row = 0; row < now.rows; ++row) {
    std::optional<u32> at;  // the column behind what was written last
    std::optional<u8> attribute;
    for (u32 column = 0; column < now.columns; ++column) {
      const TextScreen::Cell cell = now.at(column, row);
      if (same_size && before->at(column, row) == cell) continue;
      if (at != column) fmt::format_to(std::back_inserter(out), "\x1b[{};{}H", row + 1, column + 1);
      if (attribute != cell.attribute) out += style(cell.attribute);
      out += devices::vga::utf8(cell.character);
      attribute = cell.attribute;
      at = column + 1;
    }
  }
  if (now.cursor)
    fmt::format_to(std::back_inserter(out), "\x1b[{};{}H\x1b[?25h", now.cursor->row + 1,
                   now.cursor->column + 1);
  else
    out += "\x1b[?25l";
  return out;
}

TextViewer::TextViewer(boost::asio::io_context& events, const Display& display, int fd)
    : display_(display), fd_(fd), timer_(events) {
  show(kEnter);
  wait();
}

TextViewer::~TextViewer() {
  show(kLeave);
}

void TextViewer::wait() {
  timer_.expires_after(kFrame);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    refresh();
    wait();
  });
}

void TextViewer::refresh() {
  if (auto screen = display_.text()) {
    if (shown_ != screen || !notice_.empty()) show(terminal_update(shown_, *screen));
    shown_ = std::move(screen);
    notice_.clear();
    return;
  }
  const Mode mode = display_.mode();
  if (mode.kind == Mode::Kind::kBlank) return;  // between two modes
  std::string notice = fmt::format("The guest shows graphics, {}x{}: look with --vnc or 'doppel screenshot'.",
                                   mode.width, mode.height);
  if (notice == notice_) return;
  show("\x1b[0m\x1b[2J\x1b[1;1H" + notice);
  notice_ = std::move(notice);
  shown_.reset();
}

void TextViewer::show(const std::string& bytes) const {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno != EINTR) return;  // gone, or too slow: the next picture may get through
    if (n > 0) done += static_cast<std::size_t>(n);
  }
}

}  // namespace doppel::machine
