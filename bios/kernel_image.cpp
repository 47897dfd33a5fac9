#include "bios/kernel_image.hpp"

#include <fmt/format.h>

#include "bios/entry_state.hpp"
#include "bios/linux_boot.hpp"
#include "bios/multiboot.hpp"
#include "bios/pvh_boot.hpp"
#include "devices/pc_layout.hpp"

namespace doppel::bios {

using namespace std::string_view_literals;

namespace {

// What users give by mistake, by signature. The first match counts.
struct Mistake {
  u64 offset;
  std::string_view signature;
  const char* what;
};
constexpr Mistake kMistakes[] = {
    {0, "\x1f\x8b"sv, "a gzip archive: decompress it first"},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "an xz archive: decompress it first"},
    {0, "BZh"sv, "a bzip2 archive: decompress it first"},
    {0, "\x28\xb5\x2f\xfd"sv, "a zstd archive: decompress it first"},
    {0, "070701"sv, "a cpio archive: that is an initial RAM disk, not a kernel"},
    {0, "QFI\xfb"sv, "a qcow2 disk image: attach it as a disk"},
    {0x8001, "CD001"sv, "a CD image: attach it as a CD-ROM"},
    {0x38, "ARM\x64"sv, "a kernel for 64-bit ARM processors"},
    {0x1fe, "\x55\xaa"sv,
     "a boot sector or disk image, or a Linux kernel older than boot protocol 2.00 (too old)"},
    {0, "MZ"sv, "an EFI or Windows program"},
    {0, "#!"sv, "a script"},
};

std::string describe_unknown(const ByteView& file) {
  if (file.size() == 0) return "The kernel file is empty.";
  if (is_elf(file))
    return "The kernel is an ELF file without a PVH entry note or a Multiboot header (Linux: build with "
           "CONFIG_PVH, "
           "or use the bzImage).";
  for (const Mistake& mistake : kMistakes)
    if (file.has_text(mistake.offset, mistake.signature))
      return fmt::format("The kernel file is not a kernel for this machine but {}.", mistake.what);
  constexpr u64 kSmallestKernel = 1024;
  if (file.size() < kSmallestKernel)
    return fmt::format("The kernel file is truncated or not a kernel: it has only {} bytes.", file.size());
  return "The kernel file is not a kernel: it is neither a Linux bzImage nor ELF with PVH or Multiboot.";
}

// Interrupt vectors and the BIOS data area as far as operating systems read it: COM1, the EBDA's segment, KiB
// of RAM below it, and the VGA in mode 3.
void write_bios_data(RamPlanner& planner) {
  constexpr u64 kCom1 = 0x400, kEbdaSegment = 0x40e, kBaseMemory = 0x413;
  constexpr u64 kVideoMode = 0x449, kColumns = 0x44a, kCrtcPort = 0x463, kLastRow = 0x484, kPoints = 0x485;
  Bytes page(core::kPageSize);
  poke(page, kCom1, devices::kPortSerial1);
  poke(page, kEbdaSegment, static_cast<u16>(kEbda >> 4));
  poke(page, kBaseMemory, static_cast<u16>(kEbda / 1024));
  poke(page, kVideoMode, u8{3});
  poke(page, kColumns, u16{80});
  poke(page, kCrtcPort, static_cast<u16>(devices::kPortVga + 0x24));
  poke(page, kLastRow, u8{24});
  poke(page, kPoints, u16{16});
  planner.write(0, page);
}

Error start(const BootRequest& request, RamPlanner& planner, core::CpuState& state) {
  const ByteView file(request.kernel);
  constexpr u64 kRsdp = devices::kFirmwareTables;
  if (is_linux(file)) {
    LinuxKernel kernel;
    if (auto error = parse_linux(file, kernel)) return error;
    return start_linux(kernel, request, kRsdp, planner, state);
  }
  ElfImage image;
  if (const auto header = multiboot_header(file)) {
    if (auto error = parse_multiboot(file, *header, image)) return error;
    return start_multiboot(image, request, planner, state);
  }
  if (!is_elf(file)) return describe_unknown(file);
  if (auto error = parse_elf(file, image)) return error;
  const auto entry = pvh_entry(image);
  if (!entry) return describe_unknown(file);
  return start_pvh(image, *entry, request, kRsdp, planner, state);
}

}  // namespace

KernelKind kernel_kind(std::span<const u8> bytes) {
  const ByteView file(bytes);
  if (is_linux(file)) return KernelKind::kLinux;
  if (multiboot_header(file)) return KernelKind::kMultiboot;
  ElfImage image;
  if (is_elf(file) && !parse_elf(file, image) && pvh_entry(image)) return KernelKind::kPvh;
  return KernelKind::kUnknown;
}

Error boot(const BootRequest& request, core::GuestRam& ram, core::CpuState& state) {
  RamPlanner planner(ram);
  write_bios_data(planner);
  if (auto error = place_acpi_tables(request.acpi, ram)) return error;
  if (auto error = start(request, planner, state)) return error;
  set_memory_types(state, request.physical_address_bits);
  return std::nullopt;
}

}  // namespace doppel::bios
