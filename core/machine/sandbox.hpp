// Takes from the process, once the machine is made, what it does not need any more: a system-call filter on
// all its threads (and the processes they make), no new privileges, a limit on open files. A refused call
// fails with EPERM. Called once by the command line; docs/security.md says what it is worth.
#pragma once

namespace doppel::machine {

// What the machine goes on needing while it runs.
struct SandboxConfig {
  bool network = false;           // makes connections: networks, vsock
  bool files = false;             // writes files that are not open yet: screenshots, shared folders
  bool folders = false;           // changes folders: shared ones
  bool direct_execution = false;  // makes stub processes and traces them
};

// Throws std::system_error if the host cannot.
void enter_sandbox(const SandboxConfig& config);

}  // namespace doppel::machine
