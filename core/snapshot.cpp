#include "core/snapshot.hpp"

namespace doppel::core {

// Stream of fields: u8 name length, name, u32 size, bytes.
void SnapshotIo::bytes(std::string_view name, std::span<u8> data) {
  const auto fail = [&](const char* why) {
    throw SnapshotError("snapshot: field " + std::string(name) + ": " + why);
  };
  u8 name_length = static_cast<u8>(name.size());
  if (name.size() > 255) fail("name too long");
  raw(&name_length, 1, name);
  std::string stored(name);
  if (name_length != name.size()) fail("another field is stored here");
  raw(stored.data(), stored.size(), name);
  if (stored != name) fail("another field is stored here");
  u32 size = static_cast<u32>(data.size());
  raw(&size, sizeof size, name);
  if (size != data.size()) fail("size differs");
  raw(data.data(), data.size(), name);
}

void SnapshotIo::raw(void* data, std::size_t size, std::string_view name) {
  auto* bytes = static_cast<u8*>(data);
  if (!loading_) {
    stream_.insert(stream_.end(), bytes, bytes + size);
    return;
  }
  if (stream_.size() - position_ < size)
    throw SnapshotError("snapshot: stream ends in field " + std::string(name));
  std::memcpy(bytes, stream_.data() + position_, size);
  position_ += size;
}

}  // namespace doppel::core
