#include "devices/storage/image_format.hpp"

#include <algorithm>
#include <cstring>

namespace doppel::devices {

namespace {

struct Mark {
  ImageFormat format;
  std::size_t offset;
  std::string_view bytes;
};
using namespace std::string_view_literals;
constexpr Mark kMarks[] = {
    {ImageFormat::kQcow2, 0, "QFI\xfb"sv},
    {ImageFormat::kVmdk, 0, "KDMV"sv},
    {ImageFormat::kVmdk, 0, "COWD"sv},
    {ImageFormat::kVmdk, 0, "# Disk DescriptorFile"sv},
    {ImageFormat::kVdi, 0x40, "\x7f\x10\xda\xbe"sv},
    {ImageFormat::kVhdx, 0, "vhdxfile"sv},
};

}  // namespace

const std::vector<std::string>& image_format_names() {
  static const std::vector<std::string> names = {"auto", "raw", "qcow2", "vmdk", "vdi", "vhdx"};
  return names;
}

std::optional<ImageFormat> image_format(std::string_view name) {
  const auto& names = image_format_names();
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) return std::nullopt;
  return static_cast<ImageFormat>(it - names.begin());
}

const std::string& image_format_name(ImageFormat format) {
  return image_format_names()[static_cast<std::size_t>(format)];
}

ImageFormat detect_format(std::span<const u8> first_bytes) {
  for (const Mark& mark : kMarks)
    if (first_bytes.size() >= mark.offset + mark.bytes.size() &&
        std::memcmp(first_bytes.data() + mark.offset, mark.bytes.data(), mark.bytes.size()) == 0)
      return mark.format;
  return ImageFormat::kRaw;
}

}  // namespace doppel::devices
