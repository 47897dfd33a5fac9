#include "devices/virtio/virtio_net.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "devices/net/checksum.hpp"

namespace doppel::devices {

namespace {

constexpr u16 kReceiveQueue = 0, kTransmitQueue = 1, kControlQueue = 2, kQueues = 3, kQueueSize = 256;

// --- Features (5.1.3).
constexpr u64 bit(u32 n) {
  return u64{1} << n;
}
constexpr u64 kChecksum = bit(0), kGuestChecksum = bit(1), kMac = bit(5), kGuestTso4 = bit(7),
              kHostTso4 = bit(11), kHostTso6 = bit(12), kMergeBuffers = bit(15), kStatus = bit(16),
              kControl = bit(17), kControlReceive = bit(18), kControlReceiveExtra = bit(20),
              kControlMac = bit(23);

// --- Configuration (5.1.4).
struct [[gnu::packed]] Config {
  MacAddress mac;
  u16 status;
};
constexpr u16 kLinkUp = 1;

// --- What stands before each frame (5.1.6).
struct Header {
  u8 flags, segmentation;
  u16 header_length, segment_size, checksum_start, checksum_offset, buffers;
};
static_assert(sizeof(Header) == 12);
constexpr u8 kNeedsChecksum = 1, kDataValid = 2;
constexpr u8 kNoSegmentation = 0, kTcp4 = 1, kTcp6 = 4;

// --- Control commands (5.1.6.5).
constexpr u8 kClassReceive = 0, kClassMac = 1;
constexpr u8 kMacTables = 0, kMacAddress = 1;
constexpr u8 kOk = 0, kError = 1;
constexpr std::size_t kMostMacs = 256;
constexpr std::size_t kLargestCommand = 2 + 2 * (4 + kMostMacs * sizeof(MacAddress));

}  // namespace

VirtioNet::VirtioNet(NetPort& port, const MacAddress& mac, core::Counters& counters)
    : port_(port),
      sent_(counters["virtio_net.sent"]),
      received_(counters["virtio_net.received"]),
      dropped_(counters["virtio_net.dropped"]),
      permanent_mac_(mac),
      mac_(mac) {
  port_.attach({.received = [this] { receive(); }, .room = [this] { transmit(); }});
}

u64 VirtioNet::features() const {
  const u64 always = kChecksum | kMac | kMergeBuffers | kStatus | kControl | kControlReceive |
                     kControlReceiveExtra | kControlMac;
  return always | (port_.large_frames() ? kGuestChecksum | kGuestTso4 | kHostTso4 | kHostTso6 : 0);
}

u16 VirtioNet::queues() const {
  return kQueues;
}
u16 VirtioNet::queue_size() const {
  return kQueueSize;
}

void VirtioNet::features_accepted(u64 features) {
  accepted_ = features;
  const u64 large = kGuestTso4 | kGuestChecksum;
  port_.set_guest_takes_large((features & large) == large);
}

void VirtioNet::reset() {
  accepted_ = 0;
  mac_ = permanent_mac_;
  filter_ = {};
  unicast_.clear();
  multicast_.clear();
  port_.set_guest_takes_large(false);
}

u8 VirtioNet::read_config(u32 offset) {
  const Config config{mac_, kLinkUp};
  return offset < sizeof config ? reinterpret_cast<const u8*>(&config)[offset] : u8{0};
}

void VirtioNet::notified(u16 index) {
  if (index == kReceiveQueue) receive();
  if (index == kTransmitQueue) transmit();
  if (index == kControlQueue) control();
}

// --- From the guest.

void VirtioNet::transmit() {
  Virtqueue* queue = transport_->queue(kTransmitQueue);
  if (!queue) return;
  VirtioChain chain;
  // Each frame is copied, so that its memory goes back at once. One visit takes what the queue can hold.
  for (u32 count = 0; count < 2 * kQueueSize && port_.can_send(); ++count) {
    const auto taken = queue->take(chain);
    if (taken == Virtqueue::Taken::kBroken) return transport_->needs_reset();
    if (taken == Virtqueue::Taken::kNone) break;
    NetFrame frame;
    if (read_frame(chain, frame)) {
      ++sent_;
      port_.send(std::move(frame));
    } else {
      ++dropped_;
    }
    queue->give_back(chain, 0);
  }
  transport_->announce(kTransmitQueue);
}

bool VirtioNet::read_frame(const VirtioChain& chain, NetFrame& frame) {
  const u64 size = chain.readable_size();
  if (size < sizeof(Header) + kEthernetHeader || size > sizeof(Header) + kLargestFrame) return false;
  Header header;
  (void)chain.read_front({reinterpret_cast<u8*>(&header), sizeof header});
  frame = NetFrame(size - sizeof header);
  u64 skip = sizeof header, done = 0;
  for (const auto& piece : chain.readable) {
    const u64 skipped = std::min<u64>(skip, piece.memory.size());
    skip -= skipped;
    std::memcpy(frame.bytes.data() + done, piece.memory.data() + skipped, piece.memory.size() - skipped);
    done += piece.memory.size() - skipped;
  }
  const auto has = [this](u64 feature) { return (accepted_ & feature) != 0; };
  switch (header.segmentation) {
    case kNoSegmentation:
      break;
    case kTcp4:
    case kTcp6:
      if (!has(header.segmentation == kTcp4 ? kHostTso4 : kHostTso6) || header.segment_size == 0)
        return false;
      frame.segment = header.segment_size;
      break;
    default:
      return false;
  }
  if (!(header.flags & kNeedsChecksum)) return true;
  return has(kChecksum) && complete_checksum({frame.bytes.data(), frame.bytes.size()}, header.checksum_start,
                                             header.checksum_offset);
}

// --- To the guest.

void VirtioNet::receive() {
  Virtqueue* queue = transport_->queue(kReceiveQueue);
  bool placed = false;
  while (const NetFrame* frame = port_.received()) {
    // A card that nobody drives hears nothing.
    if (queue && wanted(*frame)) {
      if (!place(*frame)) break;
      placed = true;
    }
    port_.pop();
  }
  if (placed) transport_->announce(kReceiveQueue);
}

bool VirtioNet::place(const NetFrame& frame) {
  Virtqueue& queue = *transport_->queue(kReceiveQueue);
  const bool merge = accepted_ & kMergeBuffers;
  const u64 needed = sizeof(Header) + frame.bytes.size();
  boost::container::small_vector<VirtioChain, 4> chains;
  u64 room = 0;
  while (room < needed) {
    VirtioChain chain;
    // More than the ring holds will not come.
    const auto taken = chains.size() < queue.size() ? queue.take(chain) : Virtqueue::Taken::kNone;
    if (taken == Virtqueue::Taken::kChain) {
      room += chain.writable_size();
      chains.push_back(std::move(chain));
      // 5.1.6.3: the header fits into the first buffer.
      if (chains.front().writable_size() >= sizeof(Header)) {
        if (merge || room >= needed) continue;
        // Too large for this driver: the frame is lost, not the buffer.
        queue.untake(chains.back());
        ++dropped_;
        return true;
      }
    }
    if (taken == Virtqueue::Taken::kNone) {
      for (auto it = chains.rbegin(); it != chains.rend(); ++it) queue.untake(*it);
      if (chains.size() < queue.size()) return false;
      ++dropped_;
      return true;
    }
    transport_->needs_reset();
    return false;
  }

  Header header{};
  header.buffers = static_cast<u16>(chains.size());
  if (frame.segment != 0) {
    const std::size_t ip_header = (frame.bytes[kEthernetHeader] & 15u) * 4;
    header.flags = kNeedsChecksum;
    header.segmentation = kTcp4;
    header.segment_size = frame.segment;
    header.checksum_start = static_cast<u16>(kEthernetHeader + ip_header);
    header.checksum_offset = 16;
    header.header_length = static_cast<u16>(header.checksum_start + 20);
  } else if (frame.checksums_good && (accepted_ & kGuestChecksum)) {
    header.flags = kDataValid;
  }
  const u8* from = frame.bytes.data();
  u64 left = frame.bytes.size();
  u64 header_left = sizeof header;
  for (const VirtioChain& chain : chains) {
    u64 written = 0;
    for (const auto& piece : chain.writable) {
      std::span<u8> into = piece.memory;
      const u64 head = std::min<u64>(header_left, into.size());
      std::memcpy(into.data(), reinterpret_cast<const u8*>(&header) + (sizeof header - header_left), head);
      header_left -= head;
      into = into.subspan(head);
      const u64 part = std::min<u64>(left, into.size());
      std::memcpy(into.data(), from, part);
      from += part;
      left -= part;
      written += head + part;
    }
    queue.give_back(chain, static_cast<u32>(written));
  }
  ++received_;
  return true;
}

bool VirtioNet::wanted(const NetFrame& frame) const {
  if (frame.bytes.size() < kEthernetHeader || frame.bytes.size() > kLargestFrame) return false;
  if (frame.segment != 0 && !port_.guest_takes_large()) return false;
  if (filter_.promiscuous) return true;
  MacAddress to;
  std::copy_n(frame.bytes.data(), to.size(), to.begin());
  const auto listed = [&to](const Macs& macs) {
    return std::find(macs.begin(), macs.end(), to) != macs.end();
  };
  if (std::all_of(to.begin(), to.end(), [](u8 byte) { return byte == 0xff; })) return !filter_.no_broadcast;
  if (to[0] & 1) return !filter_.no_multicast && (filter_.all_multicast || listed(multicast_));
  return !filter_.no_unicast && (filter_.all_unicast || to == mac_ || listed(unicast_));
}

// --- Control.

void VirtioNet::control() {
  transport_->serve(kControlQueue, [&](const VirtioChain& chain) -> std::optional<u32> {
    if (chain.writable_size() == 0) return std::nullopt;
    std::vector<u8> command(std::min<u64>(chain.readable_size(), kLargestCommand + 1));
    command.resize(chain.read_front(command));
    chain.writable.front().memory.front() = command.size() <= kLargestCommand && obey(command) ? kOk : kError;
    return 1;
  });
}

bool VirtioNet::obey(std::span<const u8> command) {
  if (command.size() < 2 || !(accepted_ & kControl)) return false;
  const u8 kind = command[0], what = command[1];
  const auto data = command.subspan(2);
  if (kind == kClassReceive) return !data.empty() && set_filter(what, data[0] != 0);
  if (kind != kClassMac) return false;
  if (what == kMacTables) return set_tables(data);
  if (what != kMacAddress || data.size() < mac_.size()) return false;
  std::copy_n(data.begin(), mac_.size(), mac_.begin());
  return true;
}

bool VirtioNet::set_filter(u8 command, bool on) {
  static constexpr bool Filter::*kSwitches[] = {&Filter::promiscuous, &Filter::all_multicast,
                                                &Filter::all_unicast, &Filter::no_multicast,
                                                &Filter::no_unicast,  &Filter::no_broadcast};
  if (command >= std::size(kSwitches)) return false;
  filter_.*kSwitches[command] = on;
  return true;
}

// Two tables, each a count and its addresses.
bool VirtioNet::set_tables(std::span<const u8> tables) {
  Macs read[2];
  for (Macs& macs : read) {
    u32 count;
    if (tables.size() < sizeof count) return false;
    std::memcpy(&count, tables.data(), sizeof count);
    tables = tables.subspan(sizeof count);
    if (count > kMostMacs || tables.size() / sizeof(MacAddress) < count) return false;
    macs.resize(count);
    for (MacAddress& mac : macs) {
      std::copy_n(tables.begin(), mac.size(), mac.begin());
      tables = tables.subspan(mac.size());
    }
  }
  unicast_ = std::move(read[0]);
  multicast_ = std::move(read[1]);
  return true;
}

void VirtioNet::snapshot(core::SnapshotIo& io) {
  io.field("accepted", accepted_);
  io.field("mac", mac_);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<std::string_view, bool*>>{{"promiscuous", &filter_.promiscuous},
                                                                 {"all_multicast", &filter_.all_multicast},
                                                                 {"all_unicast", &filter_.all_unicast},
                                                                 {"no_multicast", &filter_.no_multicast},
                                                                 {"no_unicast", &filter_.no_unicast},
                                                                 {"no_broadcast", &filter_.no_broadcast}})
    io.field(name, *value);
  io.sequence("unicast", unicast_, kMostMacs);
  io.sequence("multicast", multicast_, kMostMacs);
  if (io.loading()) features_accepted(accepted_);
}

}  // namespace doppel::devices
