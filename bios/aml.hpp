// Builders for AML, the byte code of ACPI's definition blocks: each function returns the encoding of one
// term, and terms nest by concatenation. Used by the DSDT only; it knows no table and no machine.
//   device("COM1", {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1))})
// Source: ACPI Specification, "ACPI Machine Language (AML) Specification" and "Resource Data Types".
#pragma once

#include <initializer_list>
#include <string_view>

#include "bios/bytes.hpp"

namespace doppel::bios::aml {

using Terms = std::vector<Bytes>;

// --- Data.
[[nodiscard]] Bytes integer(u64 value);
[[nodiscard]] Bytes string(std::string_view text);
[[nodiscard]] Bytes eisa_id(std::string_view id);    // three letters, four hexadecimal digits
[[nodiscard]] Bytes package(const Terms& elements);  // at most 255
[[nodiscard]] Bytes buffer(const Bytes& bytes);

// --- Names. A path is written as in ASL: "\\_SB.PCI0", "^FOO", "_HID"; segments are padded to four letters.
[[nodiscard]] Bytes path(std::string_view text);
[[nodiscard]] Bytes name(std::string_view where, const Bytes& value);
[[nodiscard]] Bytes scope(std::string_view where, const Terms& body);
[[nodiscard]] Bytes device(std::string_view where, const Terms& body);

// --- Code. Methods are serialized: they may create names.
[[nodiscard]] Bytes method(std::string_view where, u8 arguments, const Terms& body);
[[nodiscard]] Bytes argument(u8 number);
[[nodiscard]] Bytes local(u8 number);
[[nodiscard]] Bytes returns(const Bytes& value);
[[nodiscard]] Bytes store(const Bytes& value, const Bytes& target);
[[nodiscard]] Bytes if_true(const Bytes& condition, const Terms& body);
[[nodiscard]] Bytes logical_not(const Bytes& value);
[[nodiscard]] Bytes bit_and(const Bytes& a, const Bytes& b);
[[nodiscard]] Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& target);
[[nodiscard]] Bytes shift_left(const Bytes& value, const Bytes& count);
[[nodiscard]] Bytes lowest_bit(const Bytes& value, const Bytes& target);  // its number + 1; 0: none
[[nodiscard]] Bytes subtract(const Bytes& a, const Bytes& b, const Bytes& target);
// A name for the 16 bits at byte `offset` of a buffer.
[[nodiscard]] Bytes word_field(const Bytes& buffer, u8 offset, std::string_view where);
// `size` bytes of the device's own PCI configuration space, and byte registers in such a region.
[[nodiscard]] Bytes pci_config_region(std::string_view where, u8 offset, u8 size);
[[nodiscard]] Bytes byte_fields(std::string_view region, std::initializer_list<std::string_view> names);

// --- Resource templates: resource_template() of descriptors.
[[nodiscard]] Bytes resource_template(const Terms& descriptors);
[[nodiscard]] Bytes io_ports(u16 first, u8 count);
[[nodiscard]] Bytes isa_irq(u8 irq);        // edge-triggered, active high
[[nodiscard]] Bytes shared_irqs(u16 irqs);  // bit n: IRQ n; level-triggered, active low, shared
[[nodiscard]] Bytes isa_dma(u8 channel);    // byte transfers in compatibility mode, no bus master
[[nodiscard]] Bytes fixed_memory(u32 base, u32 size);
// Address windows that a bridge passes on; `last` is inclusive.
[[nodiscard]] Bytes bus_number_window(u16 first, u16 last);
[[nodiscard]] Bytes io_window(u16 first, u16 last);
[[nodiscard]] Bytes memory_window(u32 first, u32 last);

}  // namespace doppel::bios::aml
