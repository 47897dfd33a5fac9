#include "bios/smbios_tables.hpp"

#include <algorithm>
#include <initializer_list>
#include <numeric>

#include "core/guest_ram.hpp"

namespace doppel::bios {

namespace {

constexpr u64 kMiB = u64{1} << 20, kKiB = u64{1} << 10;
constexpr u64 kModuleSize = u64{16} << 30;  // what one memory device holds at the most
constexpr u16 kArrayHandle = 0x1000, kDeviceHandle = 0x1100, kMappedHandle = 0x1300, kNone = 0xfffe;

// Appends structures and keeps the numbers that the entry point needs. A structure's strings are numbered
// from 1 and follow its fields.
class Builder {
 public:
  void add(u8 type, u16 handle, const Bytes& fields, std::initializer_list<std::string_view> strings = {}) {
    const std::size_t begin = bytes_.size();
    append(bytes_, type);
    append(bytes_, static_cast<u8>(4 + fields.size()));
    append(bytes_, handle);
    append(bytes_, fields);
    for (const std::string_view text : strings) append(bytes_, c_string(text));
    bytes_.resize(bytes_.size() + (strings.size() == 0 ? 2 : 1));
    longest_ = std::max(longest_, bytes_.size() - begin);
    ++count_;
  }
  [[nodiscard]] const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] u16 count() const { return count_; }
  [[nodiscard]] u16 longest() const { return static_cast<u16>(longest_); }

 private:
  Bytes bytes_;
  std::size_t longest_ = 0;
  u16 count_ = 0;
};

// Fields one after another, little-endian.
template <class... Fields>
Bytes fields(Fields... values) {
  Bytes out;
  (append(out, values), ...);
  return out;
}

void add_bios(Builder& out) {
  constexpr u64 kCharacteristicsUnknown = 1u << 3;
  constexpr u8 kAcpi = 1, kVirtualMachine = 1u << 4;
  out.add(0, 0,
          fields(u8{1}, u8{2}, u16{0xe800} /* segment */, u8{3}, u8{0} /* 64 KiB */, kCharacteristicsUnknown,
                 kAcpi, kVirtualMachine, u8{0}, u8{0} /* release */, u8{0xff}, u8{0xff} /* controller */),
          {"Doppel", "1", "01/01/2024"});
}

void add_system(Builder& out) {
  constexpr u8 kPowerSwitch = 6;
  Bytes body = fields(u8{1}, u8{2}, u8{3}, u8{0} /* serial number */);
  body.resize(body.size() + 16);  // UUID: all zeros means there is none
  append(body, fields(kPowerSwitch, u8{0} /* SKU */, u8{0} /* family */));
  out.add(1, 0x100, body, {"Doppel", "Virtual PC (i440FX, PIIX)", "1"});
}

void add_enclosure(Builder& out) {
  constexpr u8 kOther = 1, kSafe = 3, kNoSecurity = 2;
  out.add(3, 0x300,
          fields(u8{1}, kOther, u8{0}, u8{0}, u8{0}, kSafe, kSafe, kSafe, kNoSecurity, u32{0}, u8{0}, u8{0},
                 u8{0}, u8{0}, u8{0}),
          {"Doppel"});
}

void add_processor(Builder& out, u32 index) {
  constexpr u8 kCentral = 3, kFamilyOther = 1, kSocketOther = 1, kEnabled = 0x41, kUpgradeOther = 1;
  constexpr u16 kNoCache = 0xffff, kUnknownSpeed = 0;
  out.add(4, static_cast<u16>(0x400 + index),
          fields(u8{1}, kCentral, kFamilyOther, u8{2}, u64{0} /* CPUID */, u8{3}, u8{0x80} /* 0 V */, u16{0},
                 kUnknownSpeed, kUnknownSpeed, kEnabled, kUpgradeOther, kNoCache, kNoCache, kNoCache, u8{0},
                 u8{0}, u8{0}, u8{1} /* cores */, u8{1}, u8{1} /* threads */, u16{1u << 2} /* 64-bit */,
                 u16{kSocketOther}),
          {"CPU", "Doppel", "1"});
}

// An array, one device for each kModuleSize of RAM, and where they are mapped.
void add_memory(Builder& out, u64 ram_size) {
  constexpr u8 kSystemBoard = 1, kSystemMemory = 3, kNoCorrection = 3, kDimm = 9, kRam = 7, kOther = 2;
  constexpr u32 kExtendedCapacity = 0x8000'0000;
  constexpr u16 kExtendedSize = 0x7fff;
  const auto modules = static_cast<u16>((ram_size + kModuleSize - 1) / kModuleSize);
  const u64 kib = ram_size / kKiB;
  out.add(16, kArrayHandle,
          fields(kSystemBoard, kSystemMemory, kNoCorrection,
                 static_cast<u32>(std::min<u64>(kib, kExtendedCapacity)), kNone, modules,
                 kib >= kExtendedCapacity ? ram_size : u64{0}));
  for (u16 i = 0; i < modules; ++i) {
    const u64 mib = std::min(kModuleSize, ram_size - i * kModuleSize) / kMiB;
    out.add(
        17, static_cast<u16>(kDeviceHandle + i),
        fields(kArrayHandle, kNone, u16{64}, u16{64}, static_cast<u16>(std::min<u64>(mib, kExtendedSize)),
               kDimm, u8{0} /* set */, u8{1}, u8{0} /* bank */, kRam, u16{kOther}, u16{0} /* speed */, u8{2},
               u8{0}, u8{0}, u8{0}, u8{0} /* rank */, static_cast<u32>(mib), u16{0}, u16{0}, u16{0}, u16{0}),
        {"DIMM", "Doppel"});
  }
  const u64 below = std::min(ram_size, core::kPciHoleStart);
  u16 handle = kMappedHandle;
  const auto map = [&](u64 base, u64 size) {
    const u64 last = (base + size) / kKiB - 1;
    constexpr u32 kExtendedAddress = 0xffff'ffff;
    const bool wide = last >= kExtendedAddress;
    out.add(19, handle++,
            fields(wide ? kExtendedAddress : static_cast<u32>(base / kKiB),
                   wide ? kExtendedAddress : static_cast<u32>(last), kArrayHandle,
                   u8{1} /* devices in a row */, wide ? base : u64{0}, wide ? base + size - 1 : u64{0}));
  };
  map(0, below);
  if (ram_size > below) map(core::kFourGiB, ram_size - below);
}

// The entry point structure of version 2.1 and later.
Bytes anchor(const Builder& tables) {
  constexpr std::size_t kLength = 0x1f;
  Bytes out;
  append(out, std::string_view("_SM_"));
  append(out, fields(u8{0} /* checksum */, static_cast<u8>(kLength), u8{2}, u8{8}, tables.longest(), u8{0}));
  out.resize(out.size() + 5);
  append(out, std::string_view("_DMI_"));
  append(out, fields(u8{0} /* checksum */, static_cast<u16>(tables.bytes().size()), u32{0} /* address */,
                     tables.count(), u8{0x28}));
  return out;
}

}  // namespace

SmbiosTables build_smbios_tables(const SmbiosConfig& config) {
  constexpr u8 kBoot = 32, kEnd = 127;
  Builder out;
  add_bios(out);
  add_system(out);
  add_enclosure(out);
  for (u32 i = 0; i < config.cpus; ++i) add_processor(out, i);
  add_memory(out, config.ram_size);
  out.add(kBoot, 0x2000, Bytes(7));  // six reserved bytes; status 0: no error
  out.add(kEnd, 0x7f00, {});
  return {anchor(out), out.bytes()};
}

}  // namespace doppel::bios
