#include "devices/virtio/virtio_vsock.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace doppel::devices {

namespace {

constexpr u16 kReceiveQueue = 0, kTransmitQueue = 1, kEventQueue = 2, kQueues = 3;
constexpr u64 kStreamFeature = 1;
constexpr u64 kHostCid = 2;

enum Operation : u16 {
  kRequest = 1,
  kResponse,
  kReset,
  kShutdown,
  kReadWrite,
  kCreditUpdate,
  kCreditRequest,
};
constexpr u16 kStream = 1;
constexpr u32 kNoReceive = 1, kNoSend = 2;  // flags of kShutdown
constexpr u32 kTransportReset = 0;          // event

constexpr std::size_t kMostResets = 512;
constexpr std::size_t kLargestData = 64 * 1024;
constexpr std::size_t kLongestGreeting = 32;
constexpr std::string_view kConnect = "CONNECT ";
// Host ports of connections that the host makes, as other hypervisors choose them.
constexpr u32 kFirstHostPort = u32{1} << 30, kLastHostPort = ~u32{0} >> 1;

constexpr u32 bit(u32 operation) {
  return u32{1} << operation;
}

}  // namespace

// 5.10.6.
struct [[gnu::packed]] VirtioVsock::Header {
  u64 source_cid, destination_cid;
  u32 source_port, destination_port;
  u32 size;
  u16 type, operation;
  u32 flags;
  u32 buffer, forwarded;
};

VirtioVsock::VirtioVsock(u64 cid, VsockSockets& sockets, core::Counters& counters)
    : cid_(cid),
      sockets_(sockets),
      opened_(counters["virtio_vsock.opened"]),
      refused_(counters["virtio_vsock.refused"]),
      next_host_port_(kFirstHostPort),
      packet_(sizeof(Header) + kLargestData) {
  static_assert(sizeof(Header) == 44);
  sockets_.attach([this] { accept(); }, [this](u64 id) { ready(id); });
}

u64 VirtioVsock::features() const {
  return kStreamFeature;
}
u16 VirtioVsock::queues() const {
  return kQueues;
}

u8 VirtioVsock::read_config(u32 offset) {
  return offset < sizeof cid_ ? static_cast<u8>(cid_ >> offset * 8) : u8{0};
}

void VirtioVsock::reset() {
  connections_.clear();
  by_ports_.clear();
  resets_.clear();
  reset_event_ = false;
}

void VirtioVsock::notified(u16 index) {
  if (index == kTransmitQueue) transmit();
  if (index == kEventQueue) send_events();
  deliver();
}

// --- From the guest.

void VirtioVsock::transmit() {
  transport_->serve(kTransmitQueue, [&](const VirtioChain& chain) {
    return take_packet(chain) ? std::optional<u32>(0) : std::nullopt;
  });
}

bool VirtioVsock::take_packet(const VirtioChain& chain) {
  const u64 size = chain.readable_size();
  if (size < sizeof(Header) || size > packet_.size()) return false;
  (void)chain.read_front({packet_.data(), size});
  Header header;
  std::memcpy(&header, packet_.data(), sizeof header);
  if (header.size > size - sizeof header) return false;
  // 5.10.6.2: what is not addressed right is not answered.
  if (header.source_cid != cid_ || header.destination_cid != kHostCid) return true;
  obey(header, {packet_.data() + sizeof header, header.size});
  return true;
}

void VirtioVsock::obey(const Header& header, std::span<const u8> data) {
  const Ports ports{header.source_port, header.destination_port};
  const auto found = by_ports_.find(ports);
  if (header.type != kStream || (found == by_ports_.end() && header.operation != kRequest)) {
    if (header.operation != kReset) refuse(ports);
    return;
  }
  if (found == by_ports_.end()) return connect(header);
  const u64 id = found->second;
  Connection& connection = connections_.at(id);
  connection.guest_buffer = header.buffer;
  connection.guest_forwarded = header.forwarded;
  const bool open = connection.state == Connection::State::kOpen;
  switch (header.operation) {
    case kResponse: {
      if (open) return abort(id);
      connection.state = Connection::State::kOpen;
      ++opened_;
      const std::string answer = "OK " + std::to_string(ports.host) + "\n";
      if (::send(connection.socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return abort(id);
      return watch(id, connection);
    }
    case kReset:
      return remove(id);
    case kShutdown:
      return open ? shut_down(id, header.flags) : abort(id);
    case kReadWrite:
      return open ? receive_data(id, data) : abort(id);
    case kCreditUpdate:
      return;
    case kCreditRequest:
      connection.say |= bit(kCreditUpdate);
      return;
    default:
      return abort(id);
  }
}

void VirtioVsock::connect(const Header& header) {
  const Ports ports{header.source_port, header.destination_port};
  FileDescriptor socket =
      connections_.size() < kMostConnections ? sockets_.connect(ports.host) : FileDescriptor();
  if (!socket.valid()) return refuse(ports);
  const u64 id = add(Connection::State::kOpen, ports, std::move(socket));
  Connection& connection = connections_.at(id);
  connection.guest_buffer = header.buffer;
  connection.guest_forwarded = header.forwarded;
  connection.say = bit(kResponse);
  ++opened_;
  watch(id, connection);
}

void VirtioVsock::receive_data(u64 id, std::span<const u8> data) {
  Connection& connection = connections_.at(id);
  if (!connection.guest_sends || data.size() > kBuffer - connection.to_host.size()) return abort(id);
  if (connection.to_host.empty() && !connection.host_gone) {
    const ssize_t done = ::send(connection.socket.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (done > 0) {
      connection.forwarded += static_cast<u32>(done);
      data = data.subspan(static_cast<std::size_t>(done));
    }
  }
  connection.to_host.insert(connection.to_host.end(), data.begin(), data.end());
  flush(id);
}

void VirtioVsock::shut_down(u64 id, u32 flags) {
  Connection& connection = connections_.at(id);
  if (flags & kNoSend) connection.guest_sends = false;
  if (flags & kNoReceive) {
    connection.guest_receives = false;
    ::shutdown(connection.socket.get(), SHUT_RD);
  }
  flush(id);
}

void VirtioVsock::flush(u64 id) {
  Connection& connection = connections_.at(id);
  auto& waiting = connection.to_host;
  while (!waiting.empty()) {
    std::array<u8, 16384> part;
    const std::size_t size = std::min(waiting.size(), part.size());
    std::copy_n(waiting.begin(), size, part.begin());
    ssize_t done = static_cast<ssize_t>(size);
    if (!connection.host_gone) done = ::send(connection.socket.get(), part.data(), size, MSG_NOSIGNAL);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (done < 0) {
      // What it had sent before is still there to be read.
      connection.host_gone = true;
      continue;
    }
    waiting.erase(waiting.begin(), waiting.begin() + done);
    connection.forwarded += static_cast<u32>(done);
  }
  if (connection.forwarded - connection.told_forwarded >= kBuffer / 4) connection.say |= bit(kCreditUpdate);
  if (waiting.empty() && !connection.guest_sends) {
    if (!connection.guest_receives) return abort(id);  // 5.10.6.6.1: both ends are done
    ::shutdown(connection.socket.get(), SHUT_WR);
  }
  watch(id, connection);
}

// --- To the guest.

void VirtioVsock::deliver() {
  Virtqueue* queue = transport_->queue(kReceiveQueue);
  if (!queue) return;
  VirtioChain chain;
  for (u32 count = 0;; ++count) {
    if (count == 2u * queue->size()) {
      transport_->unfinished(kReceiveQueue);
      break;
    }
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kNone) break;
    const u64 room = chain.writable_size();
    if (taken == Virtqueue::Taken::kBroken || room < sizeof(Header)) return transport_->needs_reset();
    const u32 size = next_packet(std::min<u64>(room, packet_.size()));
    if (size == 0) {
      queue->untake(chain);
      break;
    }
    queue->give_back(chain, static_cast<u32>(chain.write_front({packet_.data(), size})));
  }
  transport_->announce(kReceiveQueue);
}

// Connections take turns.
u32 VirtioVsock::next_packet(std::size_t room) {
  if (!resets_.empty()) {
    const Ports ports = resets_.front();
    resets_.pop_front();
    const Header header{.source_cid = kHostCid,
                        .destination_cid = cid_,
                        .source_port = ports.host,
                        .destination_port = ports.guest,
                        .type = kStream,
                        .operation = kReset};
    std::memcpy(packet_.data(), &header, sizeof header);
    return sizeof header;
  }
  auto at = connections_.upper_bound(last_served_);
  for (std::size_t count = connections_.size(); count != 0; --count, ++at) {
    if (at == connections_.end()) at = connections_.begin();
    if (const u32 size = packet_of(at->first, at->second, room)) {
      last_served_ = at->first;
      return size;
    }
  }
  return 0;
}

u32 VirtioVsock::packet_of(u64 id, Connection& connection, std::size_t room) {
  Header header{.source_cid = kHostCid,
                .destination_cid = cid_,
                .source_port = connection.ports.host,
                .destination_port = connection.ports.guest,
                .type = kStream,
                .buffer = kBuffer};
  if (connection.say == 0) {
    header.size = data_of(id, connection, room - sizeof header);
    header.operation = kReadWrite;
  }
  if (header.size == 0) {
    if (connection.say == 0) return 0;
    header.operation = static_cast<u16>(std::countr_zero(connection.say));
    connection.say &= connection.say - 1;
    if (header.operation == kShutdown) header.flags = kNoSend | (connection.host_gone ? kNoReceive : 0);
  }
  header.forwarded = connection.told_forwarded = connection.forwarded;
  std::memcpy(packet_.data(), &header, sizeof header);
  return static_cast<u32>(sizeof header + header.size);
}

// Reads into packet_ what the guest has room for. At the end of what comes, there is kShutdown to be said.
u32 VirtioVsock::data_of(u64 id, Connection& connection, std::size_t room) {
  if (connection.state != Connection::State::kOpen || !connection.readable || connection.host_ended) return 0;
  const u32 underway = connection.sent - connection.guest_forwarded;
  const u32 credit = underway < connection.guest_buffer ? connection.guest_buffer - underway : 0;
  const std::size_t most = std::min<std::size_t>(room, credit);
  if (most == 0) return 0;
  const ssize_t size = ::recv(connection.socket.get(), packet_.data() + sizeof(Header), most, 0);
  if (size > 0) {
    connection.sent += static_cast<u32>(size);
    return static_cast<u32>(size);
  }
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
    connection.readable = false;
    watch(id, connection);
    return 0;
  }
  connection.host_ended = true;
  pollfd polled{connection.socket.get(), 0, 0};
  if (::poll(&polled, 1, 0) == 1 && (polled.revents & (POLLHUP | POLLERR))) connection.host_gone = true;
  if (connection.guest_receives || connection.host_gone) connection.say |= bit(kShutdown);
  return 0;
}

void VirtioVsock::send_events() {
  Virtqueue* queue = transport_->queue(kEventQueue);
  if (!queue || !reset_event_) return;
  VirtioChain chain;
  const auto taken = queue->take(chain);
  if (taken == Virtqueue::Taken::kNone) return;
  if (taken == Virtqueue::Taken::kBroken || chain.writable_size() < sizeof kTransportReset)
    return transport_->needs_reset();
  const auto* event = reinterpret_cast<const u8*>(&kTransportReset);
  queue->give_back(chain, static_cast<u32>(chain.write_front({event, sizeof kTransportReset})));
  reset_event_ = false;
  transport_->announce(kEventQueue);
}

// --- The host's programs.

void VirtioVsock::accept() {
  for (FileDescriptor client = sockets_.accept(); client.valid(); client = sockets_.accept()) {
    // Nobody there, or too many: it finds its connection closed.
    if (!transport_->queue(kReceiveQueue) || connections_.size() >= kMostConnections) continue;
    const u64 id = add(Connection::State::kGreeting, {}, std::move(client));
    watch(id, connections_.at(id));
  }
}

void VirtioVsock::ready(u64 id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  connection.watches_read = connection.watches_write = false;
  if (connection.state == Connection::State::kGreeting) {
    greet(id);
  } else {
    connection.readable = true;
    flush(id);
  }
  deliver();
}

// "CONNECT PORT\n"; what comes behind it is the guest's already.
void VirtioVsock::greet(u64 id) {
  Connection& connection = connections_.at(id);
  std::string& text = connection.greeting;
  while (text.empty() || text.back() != '\n') {
    char byte;
    const ssize_t size = ::recv(connection.socket.get(), &byte, 1, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return watch(id, connection);
    if (size <= 0 || text.size() == kLongestGreeting) return remove(id);
    text += byte;
  }
  u32 port = 0;
  const char* const end = text.data() + text.size() - 1;
  const bool good = text.starts_with(kConnect);
  const auto parsed = good ? std::from_chars(text.data() + kConnect.size(), end, port)
                           : std::from_chars_result{nullptr, std::errc::invalid_argument};
  if (parsed.ec != std::errc{} || parsed.ptr != end) return remove(id);
  // Fewer connections than ports: one of them is free.
  Ports ports{port, next_host_port_};
  while (by_ports_.contains(ports))
    ports.host = ports.host == kLastHostPort ? kFirstHostPort : ports.host + 1;
  next_host_port_ = ports.host == kLastHostPort ? kFirstHostPort : ports.host + 1;
  connection.ports = ports;
  connection.state = Connection::State::kRequested;
  connection.say = bit(kRequest);
  by_ports_[ports] = id;
}

u64 VirtioVsock::add(Connection::State state, Ports ports, FileDescriptor socket) {
  const u64 id = next_id_++;
  sockets_.add(socket, id);
  Connection& connection = connections_[id];
  connection.state = state;
  connection.ports = ports;
  connection.socket = std::move(socket);
  if (state != Connection::State::kGreeting) by_ports_[ports] = id;
  return id;
}

void VirtioVsock::watch(u64 id, Connection& connection) {
  const bool greeting = connection.state == Connection::State::kGreeting;
  const bool open = connection.state == Connection::State::kOpen;
  const bool read = (greeting || open) && !connection.readable && !connection.host_ended;
  const bool write = !connection.to_host.empty();
  if ((!read || connection.watches_read) && (!write || connection.watches_write)) return;
  connection.watches_read = read;
  connection.watches_write = write;
  sockets_.watch(connection.socket, id, read, write);
}

void VirtioVsock::refuse(Ports ports) {
  ++refused_;
  // Only a driver that takes nothing has so many to come.
  if (resets_.size() < kMostResets) resets_.push_back(ports);
}

void VirtioVsock::abort(u64 id) {
  if (resets_.size() < kMostResets) resets_.push_back(connections_.at(id).ports);
  remove(id);
}

void VirtioVsock::remove(u64 id) {
  const auto found = connections_.find(id);
  if (found->second.state != Connection::State::kGreeting) by_ports_.erase(found->second.ports);
  connections_.erase(found);
}

void VirtioVsock::snapshot(core::SnapshotIo& io) {
  if (!io.loading()) return;
  reset();
  reset_event_ = true;
  transport_->unfinished(kEventQueue);
}

}  // namespace doppel::devices
