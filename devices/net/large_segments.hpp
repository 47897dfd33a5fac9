// What makes TCP between a guest and a NAT on this host fast: the NAT ends the guest's connections, so there
// is no wire between them that would need segments of 1500 bytes. Pure functions on frames, used by
// UserNetwork. What is neither plain IPv4 nor TCP over IPv6 is left alone.
#pragma once

#include <functional>

#include "devices/net/net_port.hpp"

namespace doppel::devices {

inline constexpr std::size_t kWireMtu = 1500;
inline constexpr u16 kWireSegment = kWireMtu - 40;

// In a frame with a SYN of a guest that takes large segments: asks for `segment` bytes where it asks for what
// the wire carries. Then both ends know what they do, and kWireSegment is what the guest would have had.
void ask_for_large_segments(NetFrame& frame, u16 segment);

// Makes frames that the guest can take of one of the NAT's, and calls `deliver` with them. TCP beyond the
// wire's size becomes a large segment with its checksum left open if the guest takes those (`large`), else
// segments that fit; other packets of that size become fragments.
void fit_to_wire(NetFrame frame, bool large, const std::function<void(NetFrame)>& deliver);

}  // namespace doppel::devices
