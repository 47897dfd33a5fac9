// What `doppel run` exits with. Odd numbers belong to the guest: isa-debug-exit gives (value << 1) | 1.
#pragma once

namespace doppel::machine {

inline constexpr int kExitPowerOff = 0;     // the guest powered off
inline constexpr int kExitUsage = 2;        // bad command line or input file; one sentence on stderr
inline constexpr int kExitReset = 4;        // the guest reset with --no-reboot
inline constexpr int kExitTripleFault = 6;  // triple fault; registers and stack are dumped to stderr
inline constexpr int kExitHostError = 8;    // the host failed us: no memory, lost terminal
inline constexpr int kExitQuit = 10;        // stopped from outside: Ctrl-A x, SIGINT, SIGTERM, SIGHUP
inline constexpr int kExitDifference = 12;  // --engine verify: translated code and the interpreter disagree
inline constexpr int kExitTimeout = 124;    // --timeout expired (the status of timeout(1))

}  // namespace doppel::machine
