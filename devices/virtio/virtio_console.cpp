#include "devices/virtio/virtio_console.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace doppel::devices {

namespace {

// --- Features (5.3.3).
constexpr u64 kMultiport = u64{1} << 1;

// --- Configuration (5.3.4).
struct Config {
  u16 columns, rows;
  u32 ports, emergency;
};

// --- Control messages (5.3.6.2).
enum Event : u16 {
  kDeviceReady = 0,
  kPortAdd = 1,
  kPortReady = 3,
  kConsolePort = 4,
  kPortOpen = 6,
  kPortName = 7,
};

constexpr std::size_t kMostWaiting = 64 * 1024;  // bytes of a port
constexpr u64 kMostOutput = u64{1} << 20;        // bytes of one request
constexpr std::size_t kMostControls = 256;       // a guest that asks without reading answers gets no more

// Queues (5.3.2): port 0 has the first two, the control queues come next, then the other ports.
constexpr u16 kControlIn = 2, kControlOut = 3;
constexpr u16 input_queue(std::size_t port) {
  return static_cast<u16>(port == 0 ? 0 : 2 * port + 2);
}

}  // namespace

VirtioConsole::VirtioConsole(std::vector<Port> ports) {
  for (Port& port : ports) ports_.push_back({.port = std::move(port), .waiting = {}});
}

u64 VirtioConsole::features() const {
  return kMultiport;
}

void VirtioConsole::reset() {
  accepted_ = 0;
  controls_.clear();
  for (State& state : ports_) {
    state.waiting.clear();
    if (std::exchange(state.guest_open, false) && state.port.opened) state.port.opened(false);
  }
}

u8 VirtioConsole::read_config(u32 offset) {
  const Config config{0, 0, static_cast<u32>(ports_.size()), 0};
  return offset < sizeof config ? reinterpret_cast<const u8*>(&config)[offset] : u8{0};
}

void VirtioConsole::notified(u16 index) {
  if (index == kControlOut) return control();
  if (index == kControlIn) return send_controls();
  for (std::size_t port = 0; port < ports_.size(); ++port) {
    if (index == input_queue(port)) input(port);
    if (index == input_queue(port) + 1) output(port, index);
  }
}

std::size_t VirtioConsole::receive(std::size_t port, std::span<const u8> bytes) {
  State& state = ports_[port];
  const std::size_t taken = std::min(bytes.size(), kMostWaiting - state.waiting.size());
  state.waiting.insert(state.waiting.end(), bytes.begin(),
                       bytes.begin() + static_cast<std::ptrdiff_t>(taken));
  state.refused = taken < bytes.size();
  input(port);
  return taken;
}

void VirtioConsole::set_host_connected(std::size_t port, bool connected) {
  ports_[port].host_connected = connected;
  if (ports_[port].guest_open || connected) say(port, kPortOpen, connected);
}

void VirtioConsole::output(std::size_t port, u16 index) {
  transport_->serve(index, [&](const VirtioChain& chain) -> std::optional<u32> {
    if (chain.readable_size() > kMostOutput) return std::nullopt;
    for (const auto& piece : chain.readable)
      for (const u8 byte : piece.memory) ports_[port].port.output->write(byte);
    return 0u;
  });
}

void VirtioConsole::input(std::size_t port) {
  State& state = ports_[port];
  // A port that the guest has not opened would lose what it is given (5.3.6.2).
  if ((accepted_ & kMultiport) && !state.guest_open) return;
  Virtqueue* queue = transport_->queue(input_queue(port));
  if (!queue) return;
  VirtioChain chain;
  for (u32 count = 0; !state.waiting.empty(); ++count) {
    if (count == 2u * queue->size()) {
      transport_->unfinished(input_queue(port));
      break;
    }
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) break;
    if (taken == Virtqueue::Taken::kBroken) return transport_->needs_reset();
    u32 written = 0;
    for (const auto& piece : chain.writable) {
      const auto size = static_cast<std::ptrdiff_t>(std::min(piece.memory.size(), state.waiting.size()));
      std::copy_n(state.waiting.begin(), size, piece.memory.begin());
      state.waiting.erase(state.waiting.begin(), state.waiting.begin() + size);
      written += static_cast<u32>(size);
    }
    queue->give_back(chain, written);
  }
  transport_->announce(input_queue(port));
  if (state.refused && state.waiting.size() < kMostWaiting / 2) {
    state.refused = false;
    if (state.port.room) state.port.room();
  }
}

void VirtioConsole::control() {
  transport_->serve(kControlOut, [&](const VirtioChain& chain) {
    Control message;
    if (chain.read_front({reinterpret_cast<u8*>(&message), sizeof message}) == sizeof message) obey(message);
    return 0u;
  });
  send_controls();
}

void VirtioConsole::obey(const Control& message) {
  if (!(accepted_ & kMultiport)) return;
  if (message.event == kDeviceReady) {
    for (std::size_t port = 0; message.value == 1 && port < ports_.size(); ++port) say(port, kPortAdd, 1);
    return;
  }
  if (message.id >= ports_.size()) return;
  State& state = ports_[message.id];
  if (message.event == kPortReady && message.value == 1) {
    if (state.port.name.empty())
      say(message.id, kConsolePort, 1);
    else
      say(message.id, kPortName, 1, state.port.name);
    if (state.host_connected) say(message.id, kPortOpen, 1);
  }
  if (message.event != kPortOpen) return;
  state.guest_open = message.value != 0;
  if (state.port.opened) state.port.opened(state.guest_open);
  input(message.id);
}

void VirtioConsole::say(std::size_t port, u16 event, u16 value, std::string_view text) {
  if (!(accepted_ & kMultiport) || controls_.size() >= kMostControls) return;
  const Control message{static_cast<u32>(port), event, value};
  std::vector<u8> bytes(sizeof message + text.size());
  std::memcpy(bytes.data(), &message, sizeof message);
  std::copy(text.begin(), text.end(), bytes.begin() + sizeof message);
  controls_.push_back(std::move(bytes));
  send_controls();
}

void VirtioConsole::send_controls() {
  Virtqueue* queue = transport_->queue(kControlIn);
  if (!queue) return;
  VirtioChain chain;
  while (!controls_.empty()) {
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) break;
    if (taken == Virtqueue::Taken::kBroken) return transport_->needs_reset();
    const std::size_t written = chain.write_front(controls_.front());
    controls_.pop_front();
    queue->give_back(chain, static_cast<u32>(written));
  }
  transport_->announce(kControlIn);
}

void VirtioConsole::snapshot(core::SnapshotIo& io) {
  io.field("accepted", accepted_);
  for (State& state : ports_) {
    io.field("guest_open", state.guest_open);
    io.field("host_connected", state.host_connected);
    io.field("refused", state.refused);
    io.sequence("waiting", state.waiting, kMostWaiting);
  }
  u64 count = controls_.size();
  io.field("controls", count);
  if (count > kMostControls) throw core::SnapshotError("snapshot: too many control messages");
  controls_.resize(count);
  for (auto& message : controls_) io.sequence("control", message, sizeof(Control) + 256);
}

}  // namespace doppel::devices
