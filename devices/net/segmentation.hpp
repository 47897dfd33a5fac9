// What network cards do for their drivers: inserting checksums, and cutting a packet larger than the wire's
// into segments. Pure functions on frames, used by the e1000, whose guest fills TransmitContext with what it
// likes, and by the NAT for guests that take no large segments. Source of the fields: Intel 317453, 3.3.6
// (context descriptor), 3.4 (segmentation), 3.5 (checksums).
#pragma once

#include <functional>
#include <span>

#include "devices/net/net_port.hpp"

namespace doppel::devices {

// Where a checksum begins, where it goes, and the last byte it covers (0: the frame's end).
struct ChecksumFields {
  u8 start = 0, offset = 0;
  u16 end = 0;
};

// Where the parts of a packet are: a context descriptor of the e1000.
struct TransmitContext {
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

// Which checksums the pieces get. Of the transport's field, the driver's sum lacks the length (3.4.7).
struct InsertChecksums {
  bool ip = false, transport = false;
};

// Sends `packet`, whose headers `context` describes, as segments; as one large frame if `large` says that the
// receiver takes those and it fits. Returns how many frames it made; 0: the packet makes no sense.
[[nodiscard]] std::size_t cut_into_segments(NetFrame packet, const TransmitContext& context,
                                            InsertChecksums insert, bool large,
                                            const std::function<void(NetFrame)>& send);

}  // namespace doppel::devices
