#include "bios/acpi_loader.hpp"

#include <utility>

namespace doppel::bios {

namespace {

// Every command has 128 bytes: its number, then its fields, then zeros. A file name takes 56.
constexpr u32 kAllocate = 1, kAddPointer = 2, kAddChecksum = 3;
constexpr std::size_t kCommandSize = 128, kNameSize = 56;
constexpr u8 kZoneHigh = 1, kZoneFseg = 2;  // anywhere below 4 GiB; 0xf0000-0xfffff, where guests look

class Script {
 public:
  void allocate(std::string_view file, u32 align, u8 zone) {
    begin(kAllocate);
    name(file);
    append(bytes_, align);
    append(bytes_, zone);
    end();
  }
  // Adds the address of `target` to the field at `offset` of `file`.
  void add_pointer(std::string_view file, std::string_view target, u32 offset, u8 size) {
    begin(kAddPointer);
    name(file);
    name(target);
    append(bytes_, offset);
    append(bytes_, size);
    end();
  }
  void add_checksum(std::string_view file, u32 offset, u32 start, u32 length) {
    begin(kAddChecksum);
    name(file);
    append(bytes_, offset);
    append(bytes_, start);
    append(bytes_, length);
    end();
  }
  [[nodiscard]] Bytes take() { return std::move(bytes_); }

 private:
  void begin(u32 command) {
    start_ = bytes_.size();
    append(bytes_, command);
  }
  void name(std::string_view file) {
    append(bytes_, file);
    bytes_.resize(bytes_.size() + kNameSize - file.size());
  }
  void end() { bytes_.resize(start_ + kCommandSize); }

  Bytes bytes_;
  std::size_t start_ = 0;
};

}  // namespace

AcpiFiles build_acpi_files(const AcpiConfig& config) {
  constexpr u32 kTablesAlign = 64, kRsdpAlign = 16;
  AcpiImage image = build_acpi_image(config);
  const auto file_of = [](bool in_rsdp) { return in_rsdp ? kAcpiRsdpFile : kAcpiTablesFile; };
  Script script;
  script.allocate(kAcpiTablesFile, kTablesAlign, kZoneHigh);
  script.allocate(kAcpiRsdpFile, kRsdpAlign, kZoneFseg);
  for (const AcpiImage::Pointer& p : image.pointers)
    script.add_pointer(file_of(p.in_rsdp), kAcpiTablesFile, p.offset, p.size);
  for (const AcpiImage::Checksum& c : image.checksums)
    script.add_checksum(file_of(c.in_rsdp), c.offset, c.start, c.length);
  return {std::move(image.tables), std::move(image.rsdp), script.take()};
}

}  // namespace doppel::bios
