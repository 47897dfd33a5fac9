#include "bios/acpi_tables.hpp"

#include <fmt/format.h>

#include <numeric>

#include "devices/acpi_pm.hpp"
#include "devices/hpet.hpp"
#include "devices/pc_layout.hpp"

namespace doppel::bios {

using namespace devices;

namespace {

constexpr std::string_view kOemId = "DOPPEL", kOemTableId = "DOPPELPC", kCreatorId = "DPPL";
constexpr u32 kRevision = 1;
constexpr u32 kHeaderSize = 36, kChecksumOffset = 9;
constexpr u32 kAreaSize = 0x2'0000;  // up to 1 MiB
constexpr u32 kMaxCpus = 0x1000;     // names C000 to CFFF

u8 checksum(std::span<const u8> bytes) {
  return static_cast<u8>(-std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// A system description table: the common header ("DESCRIPTION_HEADER") around `body`.
Bytes table(std::string_view signature, u8 revision, std::span<const u8> body) {
  Bytes out;
  append(out, signature);
  append(out, static_cast<u32>(kHeaderSize + body.size()));
  append(out, revision);
  append(out, u8{0});  // checksum, when all pointers are known
  append(out, kOemId);
  append(out, kOemTableId);
  append(out, kRevision);
  append(out, kCreatorId);
  append(out, kRevision);
  append(out, body);
  return out;
}

// Generic Address Structure.
enum class Space : u8 { kMemory = 0, kIo = 1 };
enum class Access : u8 { kUndefined = 0, kByte = 1, kWord = 2, kDword = 3 };
void append_gas(Bytes& out, Space space, u8 bits, Access access, u64 address) {
  append(out, static_cast<u8>(space));
  append(out, bits);
  append(out, u8{0});  // bit offset
  append(out, static_cast<u8>(access));
  append(out, address);
}

// Offsets of the FADT's pointers.
constexpr u32 kFadtFacs = 36, kFadtDsdt = 40, kFadtXDsdt = 140;

// The Fixed ACPI Description Table, revision 5. SMI_CMD is 0: the machine is always in ACPI mode.
Bytes fadt(const AcpiConfig& config, u32 facs, u32 dsdt) {
  constexpr u32 kLength = 268, kPm1EventBits = 32, kPm1ControlBits = 16, kPmTimerBits = 32;
  constexpr u32 kWbinvd = 1u << 0, kProcC1 = 1u << 2, kNoSleepButton = 1u << 5, kRtcNotFixed = 1u << 6,
                kTimer32 = 1u << 8, kResetRegister = 1u << 10;
  static_assert(kAcpiPmTimerBits == kPmTimerBits, "TMR_VAL_EXT is set");
  constexpr u16 kLegacyDevices = 1u << 0, kI8042 = 1u << 1, kNoVga = 1u << 2, kNoMsi = 1u << 3;
  constexpr u8 kDesktop = 1, kResetValue = 6, kCmosCentury = 0x32;
  constexpr u16 kNoC2 = 101, kNoC3 = 1001;  // latencies that mean "not supported"
  const u16 boot_flags =
      static_cast<u16>(kLegacyDevices | kI8042 | (config.vga ? 0 : kNoVga) | (config.msi ? 0 : kNoMsi));

  Bytes t(kLength - kHeaderSize);
  const auto set = [&](std::size_t offset, auto value) { poke(t, offset - kHeaderSize, value); };
  const auto set_gas = [&](std::size_t offset, u8 bits, Access access, u64 port) {
    Bytes gas;
    append_gas(gas, Space::kIo, bits, access, port);
    std::copy(gas.begin(), gas.end(), t.begin() + static_cast<std::ptrdiff_t>(offset - kHeaderSize));
  };
  set(kFadtFacs, facs);
  set(kFadtDsdt, dsdt);
  set(45, kDesktop);
  set(46, u16{kIrqAcpiSci});
  set(56, u32{kPortAcpiPm} + kAcpiPmEvent);
  set(64, u32{kPortAcpiPm} + kAcpiPmControl);
  set(76, u32{kPortAcpiPm} + kAcpiPmTimer);
  set(88, u8{kPm1EventBits / 8});
  set(89, u8{kPm1ControlBits / 8});
  set(91, u8{kPmTimerBits / 8});
  set(96, kNoC2);
  set(98, kNoC3);
  set(108, kCmosCentury);
  set(109, boot_flags);
  set(112, kWbinvd | kProcC1 | kNoSleepButton | kRtcNotFixed | kTimer32 | kResetRegister);
  set_gas(116, 8, Access::kByte, kPortReset);
  set(128, kResetValue);
  set(kFadtXDsdt, u64{dsdt});
  set_gas(148, kPm1EventBits, Access::kWord, kPortAcpiPm + kAcpiPmEvent);
  set_gas(172, kPm1ControlBits, Access::kWord, kPortAcpiPm + kAcpiPmControl);
  set_gas(208, kPmTimerBits, Access::kDword, kPortAcpiPm + kAcpiPmTimer);
  return table("FACP", 5, t);
}

Bytes facs() {
  constexpr u32 kLength = 64;
  constexpr u8 kVersion = 2;
  Bytes out;
  append(out, std::string_view("FACS"));
  append(out, kLength);
  out.resize(kLength);
  out[32] = kVersion;
  return out;
}

// The Multiple APIC Description Table.
Bytes madt(u32 cpus) {
  constexpr u32 kPcAtCompatible = 1, kEnabled = 1;
  constexpr u8 kLocalApic = 0, kIoApic = 1, kOverride = 2, kLocalNmi = 4, kLocalX2Apic = 9, kX2ApicNmi = 10;
  constexpr u16 kConforming = 0, kActiveHighLevel = 0x0d;
  constexpr u32 kFirstX2ApicId = 255;

  Bytes t;
  append(t, static_cast<u32>(kLocalApicBase));
  append(t, kPcAtCompatible);
  for (u32 id = 0; id < cpus; ++id) {
    if (id < kFirstX2ApicId) {
      append(t, Bytes{kLocalApic, 8, static_cast<u8>(id), static_cast<u8>(id)});
    } else {
      append(t, Bytes{kLocalX2Apic, 16, 0, 0});
      append(t, id);
    }
    append(t, kEnabled);
    if (id >= kFirstX2ApicId) append(t, id);  // processor UID
  }
  append(t, Bytes{kIoApic, 12, 0 /* id */, 0});
  append(t, static_cast<u32>(kIoApicBase));
  append(t, u32{0});  // first GSI
  const auto override_irq = [&](u8 irq, u8 gsi, u16 flags) {
    append(t, Bytes{kOverride, 10, 0 /* ISA */, irq});
    append(t, u32{gsi});
    append(t, flags);
  };
  override_irq(kIrqPit, kIoApicPinPit, kConforming);
  override_irq(kIrqAcpiSci, kIrqAcpiSci, kActiveHighLevel);
  append(t, Bytes{kLocalNmi, 6, 0xff /* every processor */, 0, 0, 1 /* LINT1 */});
  if (cpus > kFirstX2ApicId) {
    append(t, Bytes{kX2ApicNmi, 12, 0, 0});
    append(t, ~u32{0});
    append(t, Bytes{1 /* LINT1 */, 0, 0, 0});
  }
  return table("APIC", 3, t);
}

Bytes hpet() {
  // Vendor 8086, legacy replacement, 64-bit counter, number of the last timer, revision 1: the chip's
  // capabilities.
  constexpr u32 kEventTimerBlock = 0x8086'a001 | (Hpet::kTimers - 1) << 8;
  constexpr u16 kMinimumTick = 100;
  Bytes t;
  append(t, kEventTimerBlock);
  append_gas(t, Space::kMemory, 0, Access::kUndefined, kHpetBase);
  append(t, u8{0});  // HPET number
  append(t, kMinimumTick);
  append(t, u8{0});  // no page protection
  return table("HPET", 1, t);
}

constexpr u32 kRsdpRsdt = 16, kRsdpXsdt = 24;

// Both checksums are left to AcpiImage.
Bytes rsdp(u32 rsdt, u64 xsdt) {
  constexpr std::size_t kSize = 36;
  Bytes out;
  append(out, std::string_view("RSD PTR "));
  append(out, u8{0});
  append(out, kOemId);
  append(out, u8{2});  // revision
  append(out, rsdt);
  append(out, u32{kSize});
  append(out, xsdt);
  out.resize(kSize);
  return out;
}

}  // namespace

AcpiImage build_acpi_image(const AcpiConfig& config) {
  constexpr std::size_t kAlign = 64;  // the FACS must be aligned so; the others do not mind
  AcpiImage image;
  const auto add = [&](const Bytes& bytes, bool checked = true) {
    image.tables.resize((image.tables.size() + kAlign - 1) / kAlign * kAlign);
    const auto offset = static_cast<u32>(image.tables.size());
    const auto size = static_cast<u32>(bytes.size());
    append(image.tables, bytes);
    if (checked) image.checksums.push_back({false, offset + kChecksumOffset, offset, size});
    return offset;
  };
  const u32 facs_at = add(facs(), false);
  const u32 dsdt_at = add(table("DSDT", 2, build_dsdt_aml(config)));
  const u32 fadt_at = add(fadt(config, facs_at, dsdt_at));
  for (const auto& [offset, size] : {std::pair{kFadtFacs, 4}, {kFadtDsdt, 4}, {kFadtXDsdt, 8}})
    image.pointers.push_back({false, fadt_at + offset, static_cast<u8>(size)});

  Bytes pointers32, pointers64;
  for (const u32 offset : {fadt_at, add(madt(config.cpus)), add(hpet())}) {
    append(pointers32, offset);
    append(pointers64, u64{offset});
  }
  const auto add_root = [&](std::string_view signature, const Bytes& entries, u8 entry_size) {
    const u32 at = add(table(signature, 1, entries));
    for (u32 i = 0; i < entries.size(); i += entry_size)
      image.pointers.push_back({false, at + kHeaderSize + i, entry_size});
    return at;
  };
  const u32 rsdt_at = add_root("RSDT", pointers32, 4);
  const u32 xsdt_at = add_root("XSDT", pointers64, 8);
  image.rsdp = rsdp(rsdt_at, xsdt_at);
  image.pointers.push_back({true, kRsdpRsdt, 4});
  image.pointers.push_back({true, kRsdpXsdt, 8});
  constexpr u32 kSizeOfRevision0 = 20, kChecksum = 8, kExtendedChecksum = 32;
  image.checksums.push_back({true, kChecksum, 0, kSizeOfRevision0});
  image.checksums.push_back({true, kExtendedChecksum, 0, static_cast<u32>(image.rsdp.size())});
  return image;
}

Bytes build_acpi_tables(const AcpiConfig& config, u32 base) {
  constexpr u32 kRsdpArea = 64;
  AcpiImage image = build_acpi_image(config);
  for (const AcpiImage::Pointer& pointer : image.pointers) {
    u8* field = (pointer.in_rsdp ? image.rsdp : image.tables).data() + pointer.offset;
    u64 value = 0;
    std::memcpy(&value, field, pointer.size);
    value += base + kRsdpArea;
    std::memcpy(field, &value, pointer.size);
  }
  for (const AcpiImage::Checksum& c : image.checksums) {
    Bytes& bytes = c.in_rsdp ? image.rsdp : image.tables;
    bytes[c.offset] = checksum(std::span(bytes).subspan(c.start, c.length));
  }
  Bytes area = std::move(image.rsdp);
  area.resize(kRsdpArea);
  append(area, image.tables);
  return area;
}

std::optional<std::string> place_acpi_tables(const AcpiConfig& config, core::GuestRam& ram) {
  if (config.cpus == 0 || config.cpus > kMaxCpus)
    return fmt::format("A machine has 1 to {} CPUs, not {}.", kMaxCpus, config.cpus);
  const Bytes area = build_acpi_tables(config, kFirmwareTables);
  if (area.size() > kAreaSize)
    return fmt::format("The ACPI tables of {} CPUs do not fit into {} KiB.", config.cpus, kAreaSize / 1024);
  if (!ram.write(kFirmwareTables, area)) return "There is no RAM for the ACPI tables.";
  return std::nullopt;
}

}  // namespace doppel::bios
