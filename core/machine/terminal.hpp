// The user's terminal: raw while the guest runs, restored whatever ends the process (return, exit, signal,
// crash).
#pragma once

namespace doppel::machine {

class RawTerminal {
 public:
  // Makes the terminal behind `fd` raw; does nothing when `fd` is not a terminal. At most one at a time.
  explicit RawTerminal(int fd);
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal();
};

}  // namespace doppel::machine
