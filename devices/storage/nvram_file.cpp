#include "devices/storage/nvram_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/log.hpp"
#include "devices/storage/image_lock.hpp"

namespace doppel::devices {

namespace {

[[noreturn]] void fail(const std::string& path, const std::string& sentence) {
  throw ImageError(fmt::format("{}: {}", path, sentence));
}

// O_NONBLOCK: a named pipe must not make us wait.
FileDescriptor open_file(const std::string& path, int flags) {
  return FileDescriptor(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666));
}

u64 size_of(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "this is no file; name one, or one that is to be made");
  const u64 size = static_cast<u64>(status.st_size);
  if (size == 0 || size % CfiFlash::kBlock != 0 || size > NvramFile::kLargest)
    fail(path, fmt::format(
                   "it has {} bytes; a store of UEFI variables has a multiple of {} KiB, up to {} MiB: copy "
                   "the one that belongs to the firmware, such as OVMF_VARS_4M.fd",
                   size, CfiFlash::kBlock >> 10, NvramFile::kLargest >> 20));
  return size;
}

std::vector<u8> read_all(const FileDescriptor& file, const std::string& path) {
  std::vector<u8> bytes(size_of(file, path));
  const std::array<iovec, 1> into = {{{bytes.data(), bytes.size()}}};
  if (const int error = read_file_at(file.get(), 0, into)) fail(path, std::strerror(error));
  return bytes;
}

// Under another name until it is complete: who stops us half-way finds no half file.
void make(const std::string& path, const std::string& original) {
  if (original.empty())
    fail(path, "there is no such file; copy the store of variables that belongs to the firmware there");
  const FileDescriptor from = open_file(original, O_RDONLY);
  if (!from.valid())
    fail(path,
         fmt::format("there is no such file, and {} to copy: {}; copy the store of variables that belongs to "
                     "the firmware there",
                     original, std::strerror(errno)));
  const std::vector<u8> bytes = read_all(from, original);
  const std::string unfinished = fmt::format("{}.{}.tmp", path, ::getpid());
  const FileDescriptor to = open_file(unfinished, O_WRONLY | O_CREAT | O_EXCL);
  if (!to.valid()) fail(path, fmt::format("cannot be made: {}", std::strerror(errno)));
  const std::array<iovec, 1> all = {{{const_cast<u8*>(bytes.data()), bytes.size()}}};  // only read
  int error = write_file_at(to.get(), 0, all);
  if (!error && ::fsync(to.get()) != 0) error = errno;
  // Not rename(), where there is something better: what somebody else made meanwhile stays.
  if (!error && ::link(unfinished.c_str(), path.c_str()) != 0 && errno != EEXIST)
    error = ::rename(unfinished.c_str(), path.c_str()) == 0 ? 0 : errno;
  ::unlink(unfinished.c_str());
  if (error) fail(path, fmt::format("cannot be made: {}", std::strerror(error)));
}

}  // namespace

NvramFile::NvramFile(const std::string& path, const std::string& original) : file_(open_file(path, O_RDWR)) {
  if (!file_.valid() && errno == ENOENT) {
    make(path, original);
    file_ = open_file(path, O_RDWR);
  }
  if (!file_.valid())
    fail(path, errno == EISDIR ? "this is a directory; name a file in it"
                               : fmt::format("cannot be written: {}", std::strerror(errno)));
  (void)size_of(file_, path);
  if (!lock_image(file_.get(), true))
    fail(path, "another machine uses it; stop that first, or name another file");
  bytes_ = read_all(file_, path);
}

NvramFile::~NvramFile() {
  flush();
}

int NvramFile::write(u64 offset, u64 size) {
  const std::array<iovec, 1> changed = {{{bytes_.data() + offset, size}}};
  return write_file_at(file_.get(), offset, changed);
}

void NvramFile::flush() {
  if (::fdatasync(file_.get()) != 0)
    core::log(core::LogCategory::kStorage, "store of UEFI variables: {}", std::strerror(errno));
}

}  // namespace doppel::devices
