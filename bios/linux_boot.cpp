#include "bios/linux_boot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "bios/entry_state.hpp"

namespace doppel::bios {

namespace {

// Offsets of the setup header, the same in the file and in struct boot_params ("THE REAL-MODE KERNEL
// HEADER").
constexpr u32 kSetupSects = 0x1f1, kSyssize = 0x1f4, kVidMode = 0x1fa, kHeaderLength = 0x201, kMagic = 0x202,
              kVersion = 0x206, kTypeOfLoader = 0x210, kLoadflags = 0x211, kCode32Start = 0x214,
              kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kCmdLinePtr = 0x228, kInitrdAddrMax = 0x22c,
              kKernelAlignment = 0x230, kRelocatableKernel = 0x234, kXloadflags = 0x236, kCmdlineSize = 0x238,
              kSetupData = 0x250, kPrefAddress = 0x258, kInitSize = 0x260;
constexpr u32 kHeaderStart = kSetupSects;
constexpr u32 kSmallestHeaderEnd = kCmdlineSize + 4;  // protocol 2.06
constexpr u32 kHeaderLimit = 0x290;                   // what struct boot_params has room for

// Offsets in struct boot_params only ("Zero Page").
constexpr u32 kAcpiRsdpAddr = 0x070, kExtRamdiskImage = 0x0c0, kExtRamdiskSize = 0x0c4,
              kExtCmdLinePtr = 0x0c8, kE820Entries = 0x1e8, kE820Table = 0x2d0;
constexpr u32 kBootParamsSize = 0x1000;

// The screen, in struct screen_info at the beginning of struct boot_params: BIOS mode 3 on a colour VGA.
constexpr u32 kVideoMode = 0x06, kVideoColumns = 0x07, kVideoEgaBx = 0x0a, kVideoLines = 0x0e,
              kVideoIsVga = 0x0f, kVideoPoints = 0x10;

constexpr u16 kOldestVersion = 0x206, kVersionSetupData = 0x209, kVersionInitSize = 0x20a,
              kVersionXloadflags = 0x20c;
constexpr u8 kLoadedHigh = 1u << 0;
constexpr u16 kXlfKernel64 = 1u << 0, kXlfAbove4G = 1u << 1;
constexpr u32 kSector = 512, kEntry64 = 0x200;
constexpr u64 kMappedAtMost = u64{64} << 30;  // the identity page tables of this much fit into low RAM

u64 align_up(u64 value, u64 align) {
  return (value + align - 1) & ~(align - 1);
}
constexpr u64 mib(u64 bytes) {
  return (bytes + kOneMiB - 1) / kOneMiB;
}
u32 low(u64 address) {
  return static_cast<u32>(address);
}
u32 high(u64 address) {
  return static_cast<u32>(address >> 32);
}

// Several modules become one RAM disk: the kernel accepts concatenated archives at multiples of four bytes.
struct Ramdisk {
  u64 address = 0, size = 0;
};
Error place_ramdisk(const LinuxKernel& kernel, const std::vector<BootModule>& modules, RamPlanner& planner,
                    Ramdisk& ramdisk) {
  for (const BootModule& module : modules) ramdisk.size = align_up(ramdisk.size, 4) + module.bytes.size();
  if (ramdisk.size == 0) return std::nullopt;

  auto place = planner.claim_highest(ramdisk.size, core::kPageSize, u64{kernel.initrd_last_address} + 1);
  if (!place && kernel.takes_data_above_4g)
    place = planner.claim_highest(ramdisk.size, core::kPageSize, kMappedAtMost);
  if (!place)
    return fmt::format(
        "The initial RAM disk ({} MiB) does not fit beside the kernel: give the machine more memory.",
        mib(ramdisk.size));
  ramdisk.address = *place;
  u64 offset = 0;
  for (const BootModule& module : modules) {
    planner.zero(ramdisk.address + offset, align_up(offset, 4) - offset);
    offset = align_up(offset, 4);
    planner.write(ramdisk.address + offset, module.bytes);
    offset += module.bytes.size();
  }
  return std::nullopt;
}

Bytes rng_seed_setup_data(const std::vector<u8>& seed) {
  constexpr u32 kSetupRngSeed = 9;
  Bytes data;
  append(data, u64{0});  // the list ends here
  append(data, kSetupRngSeed);
  append(data, static_cast<u32>(seed.size()));
  append(data, seed);
  return data;
}

void append_memory_map(Bytes& params, const std::vector<E820Entry>& map) {
  params[kE820Entries] = static_cast<u8>(map.size());
  Bytes entries;
  for (const E820Entry& entry : map) {
    append(entries, entry.base);
    append(entries, entry.size);
    append(entries, static_cast<u32>(entry.type));
  }
  std::copy(entries.begin(), entries.end(), params.begin() + kE820Table);
}

Bytes boot_params(const LinuxKernel& kernel, const Ramdisk& ramdisk, u64 command_line, u64 setup_data,
                  u64 rsdp, const std::vector<E820Entry>& map) {
  constexpr u8 kUnknownLoader = 0xff;
  constexpr u16 kNormalVideo = 0xffff;
  Bytes params(kBootParamsSize);
  std::copy(kernel.setup_header.begin(), kernel.setup_header.end(), params.begin() + kHeaderStart);
  poke(params, kTypeOfLoader, kUnknownLoader);
  poke(params, kVidMode, kNormalVideo);
  poke(params, kCode32Start, kernel.load_address);
  poke(params, kRamdiskImage, low(ramdisk.address));
  poke(params, kRamdiskSize, low(ramdisk.size));
  poke(params, kExtRamdiskImage, high(ramdisk.address));
  poke(params, kExtRamdiskSize, high(ramdisk.size));
  poke(params, kCmdLinePtr, low(command_line));
  poke(params, kExtCmdLinePtr, high(command_line));
  poke(params, kAcpiRsdpAddr, rsdp);
  if (kernel.takes_setup_data) poke(params, kSetupData, setup_data);
  params[kVideoMode] = 3;
  params[kVideoColumns] = 80;
  params[kVideoEgaBx] = 3;  // 256 KiB
  params[kVideoLines] = 25;
  params[kVideoIsVga] = 1;
  params[kVideoPoints] = 16;
  append_memory_map(params, map);
  return params;
}

}  // namespace

bool is_linux(const ByteView& file) {
  return file.has_text(kMagic, "HdrS");
}

Error parse_linux(const ByteView& file, LinuxKernel& kernel) {
  const u16 version = file.at<u16>(kVersion);
  if (version < kOldestVersion)
    return fmt::format(
        "The kernel speaks Linux boot protocol {}.{:02}, which is too old: 2.06 (Linux 2.6.22) or later is "
        "needed.",
        version >> 8, version & 0xff);
  if (!(file.at<u8>(kLoadflags) & kLoadedHigh))
    return "The kernel is a zImage, which is too old a format: build a bzImage.";

  const u32 header_end = kMagic + file.at<u8>(kHeaderLength);
  if (header_end < kSmallestHeaderEnd) return "The kernel file is damaged: its setup header is too short.";
  const u32 setup_sects = file.at<u8>(kSetupSects);
  const u64 payload_offset = u64{(setup_sects == 0 ? 4 : setup_sects) + 1} * kSector;
  const u64 payload_size = u64{file.at<u32>(kSyssize)} * 16;  // rounded up
  if (!file.contains(payload_offset, kEntry64 + 1) ||
      !file.contains(payload_offset, payload_size - std::min<u64>(payload_size, 15)))
    return fmt::format("The kernel file is truncated: it has {} bytes and should have {}.", file.size(),
                       payload_offset + std::max<u64>(payload_size, kEntry64 + 1));
  kernel.setup_header = file.slice(
      kHeaderStart, std::min<u64>(std::min(header_end, kHeaderLimit), payload_offset) - kHeaderStart);
  kernel.payload = file.slice(payload_offset, file.size() - payload_offset);
  kernel.command_line_limit = file.at<u32>(kCmdlineSize);
  kernel.initrd_last_address = file.at<u32>(kInitrdAddrMax);
  kernel.takes_setup_data = version >= kVersionSetupData;
  if (version >= kVersionXloadflags) {
    const u16 xloadflags = file.at<u16>(kXloadflags);
    kernel.has_64bit_entry = xloadflags & kXlfKernel64;
    kernel.takes_data_above_4g = xloadflags & kXlfAbove4G;
  }

  const u32 code32_start = file.at<u32>(kCode32Start);
  kernel.load_address = code32_start == 0 ? static_cast<u32>(kOneMiB) : code32_start;
  u64 runtime_start = kernel.load_address, init_size = 0;
  if (version >= kVersionInitSize) {
    init_size = file.at<u32>(kInitSize);
    const u64 preferred = std::max(file.at<u64>(kPrefAddress), kOneMiB);
    const u32 alignment = file.at<u32>(kKernelAlignment);
    if (preferred >= core::kPciHoleStart || !std::has_single_bit(alignment))
      return "The kernel file is damaged: its preferred address or alignment makes no sense.";
    const bool relocatable = file.at<u8>(kRelocatableKernel);
    runtime_start = relocatable ? align_up(preferred, alignment) : preferred;
    // A kernel that cannot be relocated moves itself from where it is loaded to its preferred address.
    if (relocatable) kernel.load_address = static_cast<u32>(runtime_start);
  }
  kernel.needed_end = std::max(kernel.load_address + kernel.payload.size(),
                               runtime_start + std::max<u64>(init_size, kernel.payload.size()));
  return std::nullopt;
}

Error start_linux(const LinuxKernel& kernel, const BootRequest& request, u64 rsdp, RamPlanner& planner,
                  core::CpuState& state) {
  const std::string no_room = "There is no room for the boot parameters below the kernel.";
  if (request.command_line.size() > kernel.command_line_limit)
    return fmt::format("The command line has {} characters; this kernel takes at most {}.",
                       request.command_line.size(), kernel.command_line_limit);
  if (!planner.claim(kernel.load_address, kernel.needed_end - kernel.load_address))
    return fmt::format("The kernel needs free RAM from {} MiB to {} MiB: give the machine more memory.",
                       kernel.load_address / kOneMiB, mib(kernel.needed_end));
  planner.write(kernel.load_address, kernel.payload);

  Ramdisk ramdisk;
  if (auto error = place_ramdisk(kernel, request.modules, planner, ramdisk)) return error;
  const auto command_line = planner.place_table(c_string(request.command_line), 16);
  const auto setup_data = request.rng_seed.empty()
                              ? std::optional<u64>{0}
                              : planner.place_table(rng_seed_setup_data(request.rng_seed), 16);
  if (!command_line || !setup_data) return no_room;
  const auto params = planner.place_table(
      boot_params(kernel, ramdisk, *command_line, *setup_data, rsdp, planner.map()), core::kPageSize);
  if (!params) return no_room;

  if (kernel.has_64bit_entry && !request.linux_32bit_entry) {
    const auto tables = identity_page_tables(planner, ramdisk.address + ramdisk.size);
    if (!tables || !enter_long_mode(state, planner, *tables, kernel.load_address + u64{kEntry64}))
      return no_room;
  } else if (!enter_protected_mode(state, planner, kernel.load_address)) {
    return no_room;
  }
  state.gpr[core::kRsi] = *params;
  return std::nullopt;
}

}  // namespace doppel::bios
