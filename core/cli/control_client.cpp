#include "core/cli/control_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "core/cli/message.hpp"
#include "core/machine/exit_status.hpp"

namespace doppel::cli {

namespace {

using nlohmann::json;
using Local = boost::asio::local::stream_protocol;

constexpr int kRefused = 1;  // exit status: the machine said no

struct Parameter {
  const char* name;
  enum class Kind { kText, kNumber, kFile } kind;
};
// The names of a command's arguments, in the order they are written on the command line.
const std::vector<std::pair<const char*, std::vector<Parameter>>>& parameters() {
  using enum Parameter::Kind;
  static const std::vector<std::pair<const char*, std::vector<Parameter>>> all = {
      {"status", {}},
      {"screen-text", {}},
      {"balloon", {{"mib", kNumber}}},
      {"reset", {}},
      {"quit", {}},
      {"screenshot", {{"file", kFile}}},
      {"send-key", {{"keys", kText}}},
      {"send-keys", {{"text", kText}}},
      {"move-mouse", {{"dx", kNumber}, {"dy", kNumber}, {"buttons", kNumber}, {"wheel", kNumber}}},
  };
  return all;
}

json value_of(const Parameter& parameter, const std::string& text) {
  if (parameter.kind == Parameter::Kind::kFile) return std::filesystem::absolute(text).string();
  if (parameter.kind == Parameter::Kind::kText) return text;
  int number = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data(), end, number) != std::from_chars_result{end, std::errc{}})
    throw std::runtime_error(fmt::format("{}: \"{}\" is no whole number.", parameter.name, text));
  return number;
}

json message_for(const ControlCall& call) {
  json message = {{"execute", call.command}};
  const auto found =
      std::ranges::find_if(parameters(), [&](const auto& row) { return row.first == call.command; });
  if (found == parameters().end()) return message;  // the machine says what there is
  const auto& known = found->second;
  if (call.arguments.size() > known.size())
    throw std::runtime_error(
        fmt::format("{}: \"{}\" is one argument too many.", call.command, call.arguments[known.size()]));
  for (std::size_t i = 0; i < call.arguments.size(); ++i)
    message[known[i].name] = value_of(known[i], call.arguments[i]);
  return message;
}

json ask(const std::string& where, const json& message) {
  boost::asio::io_context events;
  Local::socket socket(events);
  const std::string path = where.starts_with("unix:") ? where.substr(5) : where;
  boost::system::error_code error;
  try {
    socket.connect(Local::endpoint(path), error);
  } catch (const std::exception&) {
    error = boost::asio::error::name_too_long;
  }
  if (error)
    throw std::runtime_error(
        fmt::format("{}: {}; is 'doppel run --control unix:{}' running?", path, error.message(), path));
  boost::asio::write(socket, boost::asio::buffer(message.dump() + "\n"), error);
  std::string line;
  if (!error) boost::asio::read_until(socket, boost::asio::dynamic_buffer(line), '\n', error);
  if (error) throw std::runtime_error(fmt::format("{}: the machine ended before it answered.", path));
  return json::parse(line);
}

// Text screens line by line, other answers as JSON, empty ones not at all.
void show(const json& answer) {
  if (const auto lines = answer.find("lines"); lines != answer.end()) {
    for (const auto& line : *lines) print(stdout, "{}\n", line.get<std::string>());
  } else if (!answer.empty()) {
    print(stdout, "{}\n", answer.dump());
  }
}

}  // namespace

int call_control(const ControlCall& call) {
  try {
    const json answer = ask(call.socket, message_for(call));
    if (const auto error = answer.find("error"); error != answer.end()) {
      print(stderr, "doppel: {}: {}.\n", call.command, error->get<std::string>());
      return kRefused;
    }
    show(answer.at("return"));
    return 0;
  } catch (const std::exception& error) {
    print(stderr, "doppel: {}\n", error.what());
    return machine::kExitUsage;
  }
}

}  // namespace doppel::cli
