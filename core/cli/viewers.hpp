// What shows the machine's screen to people and takes their input, as the command line asks: VNC, the
// terminal, and the control socket. Made for one run by run.cpp.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/machine/control_server.hpp"
#include "core/machine/machine.hpp"
#include "core/machine/text_viewer.hpp"
#include "core/machine/vnc_server.hpp"

namespace doppel::cli {

struct ViewerOptions {
  std::string display = "none";  // "none" or "text"
  std::string vnc;               // machine::VncConfig::where; empty: none
  std::string vnc_password_file;
  std::string control;  // "unix:PATH"; empty: none

  [[nodiscard]] bool text() const { return display == "text"; }
  // Whether a person may look at it.
  [[nodiscard]] bool screen_seen() const { return text() || !vnc.empty(); }
};

class Viewers {
 public:
  // Throws machine::ConfigError.
  Viewers(const ViewerOptions& options, boost::asio::io_context& events, machine::Machine& vm);

  // Input from the terminal while it shows the screen: how many bytes were taken.
  [[nodiscard]] std::size_t type(std::span<const u8> bytes);

 private:
  machine::HostInput& input_;
  std::optional<machine::TextViewer> text_;
  std::optional<machine::VncServer> vnc_;
  std::optional<machine::ControlServer> control_;
};

}  // namespace doppel::cli
