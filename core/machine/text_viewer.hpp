// Shows a text-mode screen on a terminal (`--display text`): colours by ECMA-48 sequences, only what changed,
// at most 30 times a second. Runs on the event thread; input takes another way (terminal_keys.hpp).
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>
#include <string>

#include "core/machine/display.hpp"

namespace doppel::machine {

// What brings a terminal from showing `before` (nothing: it is cleared) to showing `now`.
[[nodiscard]] std::string terminal_update(const std::optional<devices::vga::TextScreen>& before,
                                          const devices::vga::TextScreen& now);

class TextViewer {
 public:
  // Writes to `fd`, a terminal, which it does not own.
  TextViewer(boost::asio::io_context& events, const Display& display, int fd);
  // Gives the terminal back as it was.
  ~TextViewer();

 private:
  void refresh();
  void wait();
  void show(const std::string& bytes) const;

  const Display& display_;
  int fd_;
  boost::asio::steady_timer timer_;
  std::optional<devices::vga::TextScreen> shown_;
  std::string notice_;  // shown instead of text
};

}  // namespace doppel::machine
