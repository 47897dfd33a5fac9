#include "core/cli/viewers.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/machine/terminal_keys.hpp"

namespace doppel::cli {

using machine::ConfigError;

namespace {

std::string read_password(const std::string& path) {
  std::ifstream file(path);
  std::string password;
  if (!file) throw ConfigError(fmt::format("--vnc-password-file {}: {}.", path, std::strerror(errno)));
  std::getline(file, password);
  if (password.empty())
    throw ConfigError(
        fmt::format("--vnc-password-file {}: the first line is empty; it is the password.", path));
  return password;
}

}  // namespace

Viewers::Viewers(const ViewerOptions& options, boost::asio::io_context& events, machine::Machine& vm)
    : input_(vm.input()) {
  if (!options.vnc.empty()) {
    machine::VncConfig config{.where = options.vnc};
    if (!options.vnc_password_file.empty()) config.password = read_password(options.vnc_password_file);
    vnc_.emplace(config, vm.display(), input_);
  }
  if (!options.control.empty()) control_.emplace(options.control, events, vm);
  if (options.text()) {
    if (!::isatty(STDOUT_FILENO))
      throw ConfigError(
          "--display text: standard output is no terminal; use --control and 'doppel ctl' instead.");
    text_.emplace(events, vm.display(), STDOUT_FILENO);
  }
}

std::size_t Viewers::type(std::span<const u8> bytes) {
  for (const auto& chord : machine::keys_from_terminal(bytes))
    if (!input_.chord(chord)) break;  // a guest that takes no keys loses them
  return bytes.size();
}

}  // namespace doppel::cli
