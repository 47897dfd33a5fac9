// How a component's state leaves and enters: one `snapshot(SnapshotIo&)` names each field once and serves
// both directions. Field names are stored and checked, so a stream that does not fit fails with the field's
// name. Reading treats the stream as hostile: sizes are bounded, a short stream fails, nothing is read past
// its end.
#pragma once

#include <array>
#include <concepts>
#include <cstring>
#include <deque>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/types.hpp"

namespace doppel::core {

// Thrown while loading; says which field did not fit. Never crosses guest code.
class SnapshotError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SnapshotIo {
 public:
  SnapshotIo() = default;                                                                      // saves
  explicit SnapshotIo(std::vector<u8> stream) : stream_(std::move(stream)), loading_(true) {}  // loads

  [[nodiscard]] bool loading() const { return loading_; }
  [[nodiscard]] const std::vector<u8>& stream() const { return stream_; }

  // Saves or loads one trivially copyable value (integers, bools, enums, plain structs without pointers,
  // arrays).
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void field(std::string_view name, T& value) { bytes(name, {reinterpret_cast<u8*>(&value), sizeof value}); }

  // A byte in the stream; any but zero loads as true, because a bool must not hold anything else.
  void field(std::string_view name, bool& value) {
    u8 byte = value;
    bytes(name, {&byte, 1});
    value = byte != 0;
  }

  // A queue or vector of trivially copyable values, at most `limit` of them.
  template <class Sequence>
  requires std::is_trivially_copyable_v<typename Sequence::value_type> && requires(Sequence s) {
    s.resize(1);
  }
  void sequence(std::string_view name, Sequence& values, std::size_t limit) {
    u64 count = values.size();
    field(name, count);
    if (count > limit) throw SnapshotError("snapshot: too many elements in " + std::string(name));
    values.resize(count);
    for (auto& value : values) field("element", value);
  }

  // Saves or loads raw bytes of a size both sides know.
  void bytes(std::string_view name, std::span<u8> data);

 private:
  void raw(void* data, std::size_t size, std::string_view name);

  std::vector<u8> stream_;
  std::size_t position_ = 0;
  bool loading_ = false;
};

}  // namespace doppel::core
