#include "core/cli/net_option.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <vector>

#include "core/cli/words.hpp"
#include "core/spelling.hpp"

namespace doppel::cli {
namespace {

using machine::NetConfig;
using Forward = devices::UserNetworkConfig::Forward;

std::optional<u16> parse_port(std::string_view text) {
  u16 port = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || rest != text.data() + text.size() || text.empty() || port == 0)
    return std::nullopt;
  return port;
}

bool parse_address(const std::string& text, in_addr& address) {
  return text.empty() || ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

std::optional<devices::MacAddress> parse_mac(std::string_view text) {
  devices::MacAddress mac;
  if (text.size() != 3 * mac.size() - 1) return std::nullopt;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    const char* at = text.data() + 3 * i;
    const auto [rest, error] = std::from_chars(at, at + 2, mac[i], 16);
    if (error != std::errc{} || rest != at + 2) return std::nullopt;
    if (i + 1 < mac.size() && at[2] != ':' && at[2] != '-') return std::nullopt;
  }
  if (mac[0] & 1) return std::nullopt;  // a group's address
  return mac;
}

// [tcp|udp]:[host address]:host port-[guest address]:guest port
std::optional<Forward> parse_forward(const std::string& text) {
  Forward forward;
  forward.text = text;
  const std::size_t protocol_end = text.find(':');
  const std::size_t dash = text.find('-');
  if (protocol_end == std::string::npos || dash == std::string::npos || dash < protocol_end)
    return std::nullopt;
  const std::string protocol = text.substr(0, protocol_end);
  if (!protocol.empty() && protocol != "tcp" && protocol != "udp") return std::nullopt;
  forward.udp = protocol == "udp";
  const auto side = [](const std::string& part, in_addr& address, u16& port) {
    const std::size_t colon = part.rfind(':');
    if (colon == std::string::npos || !parse_address(part.substr(0, colon), address)) return false;
    const auto parsed = parse_port(part.substr(colon + 1));
    port = parsed.value_or(0);
    return parsed.has_value();
  };
  if (!side(text.substr(protocol_end + 1, dash - protocol_end - 1), forward.host, forward.host_port) ||
      !side(text.substr(dash + 1), forward.guest, forward.guest_port))
    return std::nullopt;
  return forward;
}

bool is_folder(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Empty, or what is wrong.
std::string apply(const std::string& key, const std::string& value, NetConfig& net) {
  const auto is_switch = [&](bool& on) {
    on = value.empty() || value == "on" || value == "y" || value == "yes";
    return on || value == "off" || value == "n" || value == "no"
               ? ""
               : fmt::format("{}={}: write on or off.", key, value);
  };
  if (key == "mac") {
    net.mac = parse_mac(value);
    return net.mac
               ? ""
               : fmt::format("mac={}: write six bytes, as in 52:54:00:12:34:56; the first is even.", value);
  }
  if (key == "model") {
    using Model = NetConfig::Model;
    // With QEMU's other names for them.
    static const std::map<std::string, Model> kModels = {{"virtio", Model::kVirtio},
                                                         {"virtio-net", Model::kVirtio},
                                                         {"virtio-net-pci", Model::kVirtio},
                                                         {"e1000", Model::kE1000},
                                                         {"e1000-82540em", Model::kE1000}};
    const auto model = kModels.find(value);
    if (model == kModels.end())
      return fmt::format("model={}: not known; there are virtio and e1000 (Intel 82540EM).", value);
    net.model = model->second;
    return "";
  }
  if (key == "id") return "";  // QEMU's; nothing refers to it here
  std::vector<std::string> known = {"mac", "model"};
  if (net.kind == NetConfig::Kind::kTap) {
    if (key == "ifname") {
      net.name = value;
      return "";
    }
    if (key == "script" || key == "downscript")
      return value == "no"
                 ? ""
                 : fmt::format("{}={}: no scripts are run; set the interface up before.", key, value);
    known.push_back("ifname");
  }
  if (net.kind == NetConfig::Kind::kUser) {
    if (key == "hostfwd") {
      const auto forward = parse_forward(value);
      if (!forward)
        return fmt::format(
            "hostfwd={}: write PROTOCOL:ADDRESS:PORT-ADDRESS:PORT, as in tcp:127.0.0.1:2222-:22.", value);
      net.user.forwards.push_back(*forward);
      return "";
    }
    if (key == "restrict") return is_switch(net.user.restricted);
    if (key == "ipv6") return is_switch(net.user.ipv6);
    if (key == "hostname") {
      net.user.hostname = value;
      return "";
    }
    if (key == "bootfile") {
      net.user.bootfile = value;
      return "";
    }
    if (key == "tftp") {
      net.user.tftp = value;
      return is_folder(value) ? "" : fmt::format("tftp={}: there is no such folder.", value);
    }
    known.insert(known.end(), {"hostfwd", "restrict", "ipv6", "hostname", "tftp", "bootfile"});
  }
  return fmt::format("{}: not known; did you mean \"{}\"?", key, core::nearest_spelling(key, known));
}

}  // namespace

std::variant<std::optional<NetConfig>, std::string> parse_net(const std::string& option,
                                                              const std::string& text) {
  std::vector<std::string> words = split_at_commas(text);
  const std::string kind = words.front();
  words.erase(words.begin());
  NetConfig net;
  if (kind == "none" && words.empty()) return std::nullopt;
  if (kind == "tap" || kind.starts_with("tap=")) {
    net.kind = NetConfig::Kind::kTap;
    net.name = kind.substr(std::min<std::size_t>(kind.size(), 4));
  } else if (kind.starts_with("link=")) {
    net.kind = NetConfig::Kind::kLink;
    net.name = kind.substr(5);
  } else if (kind != "user") {
    return fmt::format("{} {}: not known; did you mean \"{}\"?", option, text,
                       core::nearest_spelling(kind, {"user", "none", "link=NAME", "tap=NAME"}));
  }
  for (const std::string& word : words) {
    const auto [name, value] = name_and_value(word);
    if (const std::string error = apply(name, value, net); !error.empty())
      return fmt::format("{} {}: {}", option, text, error);
  }
  return net;
}

}  // namespace doppel::cli
