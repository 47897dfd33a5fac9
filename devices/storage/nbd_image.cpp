#include "devices/storage/nbd_image.hpp"

#include <fmt/format.h>
#include <libnbd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>
#include <vector>

#include "devices/storage/storage_server.hpp"

namespace doppel::devices {

namespace {

// Requests on one connection wait for each other here, so there are a few.
constexpr std::size_t kConnections = 4;
constexpr u64 kLargestTransfer = u64{1} << 20, kLargestRange = u64{1} << 30;

struct CloseNbd {
  void operator()(nbd_handle* handle) const {
    (void)::nbd_shutdown(handle, 0);
    ::nbd_close(handle);
  }
};
using Connection = std::unique_ptr<nbd_handle, CloseNbd>;

int last_error() {
  const int error = ::nbd_get_errno();
  return error ? error : EIO;
}

Connection connect(const StorageServer& server) {
  Connection connection(::nbd_create());
  FileDescriptor socket = server.connect();
  if (!connection || !socket.valid()) return nullptr;
  if (::nbd_connect_socket(connection.get(), socket.release()) != 0) return nullptr;
  return connection;
}

class NbdImage final : public BlockImage {
 public:
  NbdImage(std::unique_ptr<StorageServer> server, std::vector<Connection> connections)
      : server_(std::move(server)), connections_(std::move(connections)) {
    nbd_handle* first = connections_.front().get();
    size_ = static_cast<u64>(std::max<i64>(::nbd_get_size(first), 0));
    read_only_ = ::nbd_is_read_only(first) == 1;
    can_trim_ = ::nbd_can_trim(first) == 1;
    can_zero_ = ::nbd_can_zero(first) == 1;
    can_flush_ = ::nbd_can_flush(first) == 1;
    for (const Connection& connection : connections_) idle_.push_back(connection.get());
  }

  [[nodiscard]] u64 size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return read_only_; }

  [[nodiscard]] int read(u64 offset, IoVectors into) override {
    return transfer(offset, into, true,
                    [](nbd_handle* h, void* data, u64 n, u64 at) { return ::nbd_pread(h, data, n, at, 0); });
  }
  [[nodiscard]] int write(u64 offset, IoVectors from) override {
    if (read_only_) return EROFS;
    return transfer(offset, from, false,
                    [](nbd_handle* h, void* data, u64 n, u64 at) { return ::nbd_pwrite(h, data, n, at, 0); });
  }
  // A server whose connections may be several promises that a flush on one covers the finished writes of all.
  [[nodiscard]] int flush() override {
    if (!can_flush_) return 0;
    return with_connection([](nbd_handle* h) { return ::nbd_flush(h, 0); });
  }
  [[nodiscard]] int discard(u64 offset, u64 length) override {
    if (read_only_) return EROFS;
    if (!can_trim_) return 0;
    return in_ranges(offset, length, [](nbd_handle* h, u64 n, u64 at) { return ::nbd_trim(h, n, at, 0); });
  }
  [[nodiscard]] int write_zeroes(u64 offset, u64 length, bool unmap) override {
    if (read_only_) return EROFS;
    if (!can_zero_) return zeroes_by_hand(offset, length);
    const u32 flags = unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;
    return in_ranges(offset, length,
                     [flags](nbd_handle* h, u64 n, u64 at) { return ::nbd_zero(h, n, at, flags); });
  }

 private:
  template <class Call>
  int with_connection(Call call) {
    nbd_handle* handle;
    {
      std::unique_lock lock(mutex_);
      one_idle_.wait(lock, [this] { return !idle_.empty(); });
      handle = idle_.back();
      idle_.pop_back();
    }
    const int error = call(handle) == 0 ? 0 : last_error();
    {
      std::lock_guard lock(mutex_);
      idle_.push_back(handle);
    }
    one_idle_.notify_one();
    return error;
  }

  template <class Call>
  int in_ranges(u64 offset, u64 length, Call call) {
    while (length != 0) {
      const u64 part = std::min(length, kLargestRange);
      if (const int error = with_connection([&](nbd_handle* h) { return call(h, part, offset); }))
        return error;
      offset += part;
      length -= part;
    }
    return 0;
  }

  // The protocol knows one piece of memory for a request: several are gathered in a buffer, so that a request
  // of many small pieces is not as many requests to the server.
  template <class Call>
  int transfer(u64 offset, IoVectors vectors, bool reading, Call call) {
    if (vectors.size() == 1)
      return piece(offset, static_cast<u8*>(vectors[0].iov_base), vectors[0].iov_len, call);
    std::vector<u8> buffer(std::min(total_size(vectors), kLargestTransfer));
    for (std::size_t first = 0, skip = 0; first < vectors.size();) {
      // The vectors that fit, or a part of the first.
      std::size_t filled = 0, index = first, within = skip;
      std::vector<std::pair<u8*, std::size_t>> parts;
      while (index < vectors.size() && filled < buffer.size()) {
        const std::size_t size = std::min(vectors[index].iov_len - within, buffer.size() - filled);
        parts.emplace_back(static_cast<u8*>(vectors[index].iov_base) + within, size);
        filled += size;
        within += size;
        if (within == vectors[index].iov_len) ++index, within = 0;
      }
      u8* position = buffer.data();
      if (!reading)
        for (const auto& [data, size] : parts) position = std::copy_n(data, size, position);
      if (const int error = piece(offset, buffer.data(), filled, call)) return error;
      if (reading)
        for (const auto& [data, size] : parts) {
          std::memcpy(data, position, size);
          position += size;
        }
      offset += filled;
      first = index;
      skip = within;
    }
    return 0;
  }

  template <class Call>
  int piece(u64 offset, u8* data, u64 size, Call call) {
    while (size != 0) {
      const u64 part = std::min(size, kLargestTransfer);
      if (const int error = with_connection([&](nbd_handle* h) { return call(h, data, part, offset); }))
        return error;
      offset += part;
      data += part;
      size -= part;
    }
    return 0;
  }

  int zeroes_by_hand(u64 offset, u64 length) {
    std::vector<u8> zeroes(std::min(length, kLargestTransfer));
    while (length != 0) {
      const iovec vector{zeroes.data(), std::min<u64>(length, zeroes.size())};
      if (const int error = write(offset, {&vector, 1})) return error;
      offset += vector.iov_len;
      length -= vector.iov_len;
    }
    return 0;
  }

  std::unique_ptr<StorageServer> server_;  // outlives the connections
  std::vector<Connection> connections_;
  std::mutex mutex_;
  std::condition_variable one_idle_;
  std::vector<nbd_handle*> idle_;
  u64 size_ = 0;
  bool read_only_ = false, can_trim_ = false, can_zero_ = false, can_flush_ = false;
};

// The server's own words without its name, ours and the file's.
std::string reason(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  if (const auto quoted = text.find("': "); quoted != std::string::npos) return text.substr(quoted + 3);
  if (text.starts_with("qemu-nbd: ")) return text.substr(std::strlen("qemu-nbd: "));
  return text;
}

[[noreturn]] void fail_with(const ServedImage& image, const std::string& said) {
  if (said.starts_with("qemu-nbd: No such file"))
    throw ImageError(fmt::format("{}: a {} image needs the program qemu-nbd; install the package qemu-utils",
                                 image.path, image.format));
  if (said.find(" lock") != std::string::npos)
    throw ImageError(fmt::format("{}: the image is in use by another program; stop that first", image.path));
  throw ImageError(fmt::format("{}: this {} image cannot be opened: {}; qemu-img check tells more",
                               image.path, image.format,
                               said.empty() ? "the server gave no reason" : reason(said)));
}

}  // namespace

std::unique_ptr<BlockImage> open_with_server(const ServedImage& image) {
  // An absolute path cannot be taken for a protocol ("nbd:...") or an option.
  const std::unique_ptr<char, void (*)(void*)> path(::realpath(image.path.c_str(), nullptr), std::free);
  if (!path) throw ImageError(fmt::format("{}: {}", image.path, std::strerror(errno)));
  std::vector<std::string> arguments = {
      "qemu-nbd",
      "--format=" + image.format,
      fmt::format("--shared={}", kConnections),
      image.unsafe ? "--cache=unsafe" : "--cache=writeback",
      "--discard=unmap",
  };
  if (image.read_only) arguments.push_back("--read-only");
  arguments.push_back(path.get());

  std::unique_ptr<StorageServer> server;
  try {
    server = std::make_unique<StorageServer>(std::move(arguments));
  } catch (const std::system_error& error) {
    throw ImageError(fmt::format("{}: {}", image.path, error.what()));
  }
  std::vector<Connection> connections;
  connections.push_back(connect(*server));
  if (!connections.front()) fail_with(image, server->stop());
  if (::nbd_can_multi_conn(connections.front().get()) == 1)
    while (connections.size() < kConnections) {
      Connection another = connect(*server);
      if (!another) break;
      connections.push_back(std::move(another));
    }
  auto opened = std::make_unique<NbdImage>(std::move(server), std::move(connections));
  if (opened->size() == 0) throw ImageError(fmt::format("{}: the disk in this image is empty", image.path));
  return opened;
}

}  // namespace doppel::devices
