// The e1000's way out: descriptors become packets, packets become frames. Source: Intel 317453, 3.3.
#include <algorithm>
#include <array>
#include <cstring>

#include "devices/net/e1000.hpp"

namespace doppel::devices {

using namespace e1000;

namespace {

constexpr u32 kMostInOneVisit = 512;          // descriptors
constexpr std::size_t kLargestPlain = 16288;  // bytes of a packet that is not cut (3.3.1)
constexpr std::size_t kShortest = 60;         // without the frame's checksum
constexpr u8 kTypeContext = 0, kTypeData = 1;

u16 get16(std::span<const u8> bytes, std::size_t at) {
  return static_cast<u16>(bytes[at] | bytes[at + 1] << 8);
}

}  // namespace

void E1000::transmit() {
  if (!(reg(kTctl) & kTctlEn)) return;
  auto ring = this->ring(kTdbal);
  if (!ring || ring->filled() == 0) return;
  u32 causes = 0;
  u32 count = 0;
  for (; ring->filled() != 0 && port_.can_send(); ring->step()) {
    if (++count > kMostInOneVisit) break;
    // A copy: the guest may go on writing there.
    std::array<u8, kDescriptorSize> descriptor;
    std::ranges::copy(ring->descriptor(), descriptor.begin());
    take(descriptor);
    if (!(descriptor[11] & (kTxRs | kTxRps))) continue;
    finish(*ring, descriptor[kDescriptorStatus] | kTxDd);
    causes |= kIntTxdw;
  }
  reg(kTdh) = ring->head;
  if (ring->filled() == 0) causes |= kIntTxqe;
  raise(causes);
  if (count > kMostInOneVisit) port_.come_back();
}

void E1000::take(std::span<const u8> descriptor) {
  const u8 command = descriptor[11], type = descriptor[10] >> 4;
  const bool extended = command & kTxDext;
  if (extended && type == kTypeContext) return take_context(descriptor);
  if (extended && type != kTypeData) return;
  if (!packet_.begun) {
    packet_.begun = true;
    packet_.cut = extended && (command & kTxTse);
    packet_.options = extended ? descriptor[13] : u8{0};
  }
  if (command & kTxVle) packet_.vlan = get16(descriptor, 14);
  u64 address;
  std::memcpy(&address, descriptor.data(), sizeof address);
  append(address, get16(descriptor, 8) | (extended ? (descriptor[10] & 15u) << 16 : 0));
  if (!(command & kTxEop)) return;
  if (!extended && (command & kTxIc))
    (void)insert_checksum({packet_.frame.bytes.data(), packet_.frame.bytes.size()},
                          {.start = descriptor[13], .offset = descriptor[10]});
  send_packet();
  packet_ = {};
}

void E1000::take_context(std::span<const u8> descriptor) {
  const u8 command = descriptor[11];
  TransmitContext& context = command & kTxTse ? cut_context_ : checksum_context_;
  context.ip = {descriptor[0], descriptor[1], get16(descriptor, 2)};
  context.tcp = {descriptor[4], descriptor[5], get16(descriptor, 6)};
  context.header = descriptor[13];
  context.segment = get16(descriptor, 14);
  context.is_tcp = command & kTucmdTcp;
  context.is_ipv4 = command & kTucmdIp;
}

// Address 0 transfers nothing (3.3.3).
void E1000::append(u64 address, u32 length) {
  if (address == 0 || length == 0 || packet_.bad) return;
  auto& bytes = packet_.frame.bytes;
  const std::size_t before = bytes.size();
  const auto memory = ram_.span(address, length);
  if (memory.empty()) ++bad_dma_;
  packet_.bad = memory.empty() || before + length > (packet_.cut ? kLargestPacket : kLargestPlain);
  if (packet_.bad) return;
  bytes.resize(before + length, boost::container::default_init);
  std::memcpy(bytes.data() + before, memory.data(), length);
}

void E1000::send_packet() {
  NetFrame& frame = packet_.frame;
  const std::size_t size = frame.bytes.size();
  if (packet_.bad || size < kEthernetHeader) {
    ++dropped_;
    return;
  }
  const InsertChecksums insert{.ip = (packet_.options & kPoptsIxsm) != 0,
                               .transport = (packet_.options & kPoptsTxsm) != 0};
  if (packet_.cut) {
    const auto frames = cut_into_segments(std::move(frame), cut_context_, insert, port_.large_frames(),
                                          [this](NetFrame one) { send(std::move(one)); });
    count(frames == 0 ? kTsctfc : kTsctc);
    if (frames == 0) ++dropped_;
    return;
  }
  const std::span<u8> bytes(frame.bytes.data(), size);
  if (insert.transport) (void)insert_checksum(bytes, checksum_context_.tcp);
  if (insert.ip) (void)insert_checksum(bytes, checksum_context_.ip);
  send(std::move(frame));
}

void E1000::send(NetFrame frame) {
  auto& bytes = frame.bytes;
  if (packet_.vlan && (reg(kCtrl) & kCtrlVme)) {
    const u16 type = static_cast<u16>(reg(kVet)), tag = *packet_.vlan;
    const u8 inserted[] = {static_cast<u8>(type >> 8), static_cast<u8>(type), static_cast<u8>(tag >> 8),
                           static_cast<u8>(tag)};
    bytes.insert(bytes.begin() + 2 * sizeof(MacAddress), std::begin(inserted), std::end(inserted));
  }
  if ((reg(kTctl) & kTctlPsp) && bytes.size() < kShortest) bytes.resize(kShortest);
  count_frame({kTpt, kGptc, kTotl, kGotcl, kBptc, kMptc, kPtc64}, {bytes.data(), bytes.size()});
  ++sent_;
  port_.send(std::move(frame));
}

}  // namespace doppel::devices
