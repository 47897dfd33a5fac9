#include "bios/aml.hpp"

#include <algorithm>
#include <array>

#include "core/log.hpp"

namespace doppel::bios::aml {

namespace {

// Opcodes ("AML Byte Stream Byte Values").
constexpr u8 kZeroOp = 0x00, kOneOp = 0x01, kNameOp = 0x08, kBytePrefix = 0x0a, kWordPrefix = 0x0b,
             kDwordPrefix = 0x0c, kStringPrefix = 0x0d, kQwordPrefix = 0x0e, kScopeOp = 0x10,
             kBufferOp = 0x11, kPackageOp = 0x12, kDualNamePrefix = 0x2e, kMultiNamePrefix = 0x2f,
             kMethodOp = 0x14, kExtOpPrefix = 0x5b, kLocal0Op = 0x60, kArg0Op = 0x68, kStoreOp = 0x70,
             kSubtractOp = 0x74, kShiftLeftOp = 0x79, kAndOp = 0x7b, kOrOp = 0x7d, kFindSetRightBitOp = 0x82,
             kCreateWordFieldOp = 0x8b, kNotOp = 0x92, kIfOp = 0xa0, kReturnOp = 0xa4;
constexpr u8 kExtRegionOp = 0x80, kExtFieldOp = 0x81, kExtDeviceOp = 0x82;
const Bytes kNoTarget = {0};

Bytes concatenate(const Terms& terms) {
  Bytes out;
  for (const Bytes& term : terms) append(out, term);
  return out;
}

// opcode, PkgLength, body. PkgLength counts itself: six bits in one byte, or four bits and one to three more
// bytes.
Bytes with_length(std::initializer_list<u8> opcode, const Bytes& body) {
  Bytes out(opcode);
  std::size_t more = 0;
  while (body.size() + 1 + more >= (more == 0 ? 0x40u : 1u << (4 + 8 * more))) ++more;
  DOPPEL_CHECK(more <= 3, "an AML package of {} bytes", body.size());
  const std::size_t length = body.size() + 1 + more;
  if (more == 0) {
    out.push_back(static_cast<u8>(length));
  } else {
    out.push_back(static_cast<u8>(more << 6 | (length & 0xf)));
    for (std::size_t i = 0; i < more; ++i) out.push_back(static_cast<u8>(length >> (4 + 8 * i)));
  }
  append(out, body);
  return out;
}

void append_segment(Bytes& out, std::string_view segment) {
  DOPPEL_CHECK(segment.size() <= 4 && !segment.empty(), "ACPI name segment {}", segment);
  append(out, segment);
  out.insert(out.end(), 4 - segment.size(), '_');
}

// Word and DWord address space descriptors share a layout; general flags: both ends fixed, producer.
template <std::unsigned_integral T>
Bytes window(u8 tag, u8 resource_type, u8 type_flags, T first, T last) {
  constexpr u8 kMinFixedMaxFixed = 0x0c;
  Bytes out;
  append(out, tag);
  append(out, static_cast<u16>(3 + 5 * sizeof(T)));
  append(out, resource_type);
  append(out, kMinFixedMaxFixed);
  append(out, type_flags);
  for (const T field :
       {T{0} /* granularity */, first, last, T{0} /* translation */, static_cast<T>(last - first + 1)})
    append(out, field);
  return out;
}

constexpr u8 kTagIrq = 0x22, kTagIrqWithFlags = 0x23, kTagDma = 0x2a, kTagIo = 0x47, kTagEnd = 0x79,
             kTagFixedMemory = 0x86, kTagDwordWindow = 0x87, kTagWordWindow = 0x88;

}  // namespace

Bytes integer(u64 value) {
  Bytes out;
  if (value == 0) return {kZeroOp};
  if (value == 1) return {kOneOp};
  if (value <= 0xff) {
    out = {kBytePrefix, static_cast<u8>(value)};
  } else if (value <= 0xffff) {
    out = {kWordPrefix};
    append(out, static_cast<u16>(value));
  } else if (value <= 0xffff'ffff) {
    out = {kDwordPrefix};
    append(out, static_cast<u32>(value));
  } else {
    out = {kQwordPrefix};
    append(out, value);
  }
  return out;
}

Bytes string(std::string_view text) {
  Bytes out = {kStringPrefix};
  append(out, c_string(text));
  return out;
}

Bytes eisa_id(std::string_view id) {
  DOPPEL_CHECK(id.size() == 7, "EISA id {}", id);
  u32 value = 0;
  for (const char letter : id.substr(0, 3)) value = value << 5 | static_cast<u32>(letter - 'A' + 1);
  for (const char digit : id.substr(3))
    value = value << 4 | static_cast<u32>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
  return integer(value >> 24 | (value >> 8 & 0xff00) | (value & 0xff00) << 8 | value << 24);
}

Bytes package(const Terms& elements) {
  DOPPEL_CHECK(elements.size() <= 255, "an AML package of {} elements", elements.size());
  Bytes body = {static_cast<u8>(elements.size())};
  append(body, concatenate(elements));
  return with_length({kPackageOp}, body);
}

Bytes buffer(const Bytes& bytes) {
  Bytes body = integer(bytes.size());
  append(body, bytes);
  return with_length({kBufferOp}, body);
}

Bytes path(std::string_view text) {
  Bytes out;
  while (!text.empty() && (text.front() == '\\' || text.front() == '^')) {
    out.push_back(static_cast<u8>(text.front()));
    text.remove_prefix(1);
  }
  const auto segments = text.empty() ? 0 : std::count(text.begin(), text.end(), '.') + 1;
  if (segments == 0) out.push_back(0);  // NullName
  if (segments == 2) out.push_back(kDualNamePrefix);
  if (segments > 2) {
    out.push_back(kMultiNamePrefix);
    out.push_back(static_cast<u8>(segments));
  }
  while (!text.empty()) {
    const auto dot = std::min(text.find('.'), text.size());
    append_segment(out, text.substr(0, dot));
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return out;
}

Bytes name(std::string_view where, const Bytes& value) {
  return concatenate({{kNameOp}, path(where), value});
}

Bytes scope(std::string_view where, const Terms& body) {
  return with_length({kScopeOp}, concatenate({path(where), concatenate(body)}));
}

Bytes device(std::string_view where, const Terms& body) {
  return with_length({kExtOpPrefix, kExtDeviceOp}, concatenate({path(where), concatenate(body)}));
}

Bytes method(std::string_view where, u8 arguments, const Terms& body) {
  constexpr u8 kSerialized = 8;
  const Bytes flags = {static_cast<u8>(arguments | kSerialized)};
  return with_length({kMethodOp}, concatenate({path(where), flags, concatenate(body)}));
}
Bytes argument(u8 number) {
  return {static_cast<u8>(kArg0Op + number)};
}
Bytes local(u8 number) {
  return {static_cast<u8>(kLocal0Op + number)};
}
Bytes returns(const Bytes& value) {
  return concatenate({{kReturnOp}, value});
}
Bytes store(const Bytes& value, const Bytes& target) {
  return concatenate({{kStoreOp}, value, target});
}
Bytes if_true(const Bytes& condition, const Terms& body) {
  return with_length({kIfOp}, concatenate({condition, concatenate(body)}));
}
Bytes logical_not(const Bytes& value) {
  return concatenate({{kNotOp}, value});
}
Bytes bit_and(const Bytes& a, const Bytes& b) {
  return concatenate({{kAndOp}, a, b, kNoTarget});
}
Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& target) {
  return concatenate({{kOrOp}, a, b, target});
}
Bytes shift_left(const Bytes& value, const Bytes& count) {
  return concatenate({{kShiftLeftOp}, value, count, kNoTarget});
}
Bytes lowest_bit(const Bytes& value, const Bytes& target) {
  return concatenate({{kFindSetRightBitOp}, value, target});
}
Bytes subtract(const Bytes& a, const Bytes& b, const Bytes& target) {
  return concatenate({{kSubtractOp}, a, b, target});
}
Bytes word_field(const Bytes& buffer, u8 offset, std::string_view where) {
  return concatenate({{kCreateWordFieldOp}, buffer, integer(offset), path(where)});
}

Bytes pci_config_region(std::string_view where, u8 offset, u8 size) {
  constexpr u8 kPciConfig = 2;
  return concatenate(
      {{kExtOpPrefix, kExtRegionOp}, path(where), {kPciConfig}, integer(offset), integer(size)});
}

Bytes byte_fields(std::string_view region, std::initializer_list<std::string_view> names) {
  constexpr u8 kByteAccess = 1, kBits = 8;
  Bytes body = path(region);
  body.push_back(kByteAccess);
  for (const std::string_view field : names) {
    append_segment(body, field);
    body.push_back(kBits);
  }
  return with_length({kExtOpPrefix, kExtFieldOp}, body);
}

Bytes resource_template(const Terms& descriptors) {
  Bytes bytes = concatenate(descriptors);
  append(bytes, std::array<u8, 2>{kTagEnd, 0});  // checksum 0: not checked
  return buffer(bytes);
}

Bytes io_ports(u16 first, u8 count) {
  Bytes out = {kTagIo, 1 /* decodes 16 bits */};
  append(out, first);  // minimum
  append(out, first);  // maximum
  append(out, std::array<u8, 2>{1 /* alignment */, count});
  return out;
}

Bytes isa_irq(u8 irq) {
  Bytes out = {kTagIrq};
  append(out, static_cast<u16>(1u << irq));
  return out;
}

Bytes shared_irqs(u16 irqs) {
  constexpr u8 kLevelLowShared = 0x18;
  Bytes out = {kTagIrqWithFlags};
  append(out, irqs);
  out.push_back(kLevelLowShared);
  return out;
}

Bytes isa_dma(u8 channel) {
  return {kTagDma, static_cast<u8>(1u << channel), 0};
}

Bytes fixed_memory(u32 base, u32 size) {
  Bytes out = {kTagFixedMemory, 9, 0, 1 /* writable */};
  append(out, base);
  append(out, size);
  return out;
}

Bytes bus_number_window(u16 first, u16 last) {
  return window<u16>(kTagWordWindow, 2, 0, first, last);
}
Bytes io_window(u16 first, u16 last) {
  constexpr u8 kEntireRange = 3;
  return window<u16>(kTagWordWindow, 1, kEntireRange, first, last);
}
Bytes memory_window(u32 first, u32 last) {
  constexpr u8 kWritable = 1;
  return window<u32>(kTagDwordWindow, 0, kWritable, first, last);
}

}  // namespace doppel::bios::aml
