// What the e1000 does to a frame on its way out, as a transmit context tells it: checksums, and cutting a
// large packet into segments. Pure functions on frames; everything in a context is the guest's and may be
// nonsense. Source: Intel 317453, 3.3.6 (context descriptor), 3.4 (segmentation), 3.5 (checksums).
#pragma once

#include <functional>
#include <span>

#include "devices/net/net_port.hpp"

namespace doppel::devices::e1000 {

// Where a checksum begins, where it goes, and the last byte it covers (0: the frame's end).
struct ChecksumFields {
  u8 start = 0, offset = 0;
  u16 end = 0;
};

// A context descriptor.
struct Context {
  ChecksumFields ip, tcp;  // IPCSS, IPCSO, IPCSE; TUCSS, TUCSO, TUCSE
  u16 segment = 0;         // MSS
  u8 header = 0;           // HDRLEN
  bool is_tcp = false, is_ipv4 = false;
};

// The largest packet that is cut, headers included, and in how many pieces.
inline constexpr std::size_t kLargestPacket = 65536 + 256;
inline constexpr std::size_t kMostSegments = 2048;

// Sums [start, end] and puts the result at `offset`. False, and nothing done: the field is outside the frame.
bool insert_checksum(std::span<u8> frame, const ChecksumFields& fields);

// Sends `packet`, whose headers `context` describes, as segments; as one large frame if `large` says that the
// network takes those and it fits. `options` is POPTS. Returns how many frames it made; 0: the packet makes
// no sense.
[[nodiscard]] std::size_t cut_into_segments(NetFrame packet, const Context& context, u8 options, bool large,
                                            const std::function<void(NetFrame)>& send);

}  // namespace doppel::devices::e1000
