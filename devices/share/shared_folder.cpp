#include "devices/share/shared_folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace doppel::devices {

namespace {

constexpr std::size_t kHeader = 7;  // size, type, tag
constexpr u8 kError = 7;            // Rlerror
constexpr u16 kMostNames = 16;      // of a walk
constexpr std::size_t kSmallestMessage = 4096;

// Tgetattr and Tsetattr.
constexpr u64 kBasicAttributes = 0x7ff;
enum SetAttribute : u32 {
  kMode = 1,
  kSize = 8,
  kAtime = 0x10,
  kMtime = 0x20,
  kAtimeSet = 0x80,
  kMtimeSet = 0x100
};
// What files may be made with: no set-user-id for whoever runs on the host, no devices.
constexpr mode_t kModes = 0777;

struct [[gnu::packed]] Qid {
  u8 type;
  u32 version;
  u64 path;
};

// Files of several devices may appear in one folder.
u64 path_of(dev_t device, u64 inode) {
  return inode ^ static_cast<u64>(device) << 44;
}

Qid qid_of(const struct stat& status) {
  const u8 type = S_ISDIR(status.st_mode) ? 0x80 : S_ISLNK(status.st_mode) ? 0x02 : 0;
  return {type, 0, path_of(status.st_dev, status.st_ino)};
}

FileDescriptor open_beneath(int folder, const char* name, int flags, mode_t mode = 0) {
  open_how how{};
  how.flags = static_cast<u64>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return FileDescriptor(static_cast<int>(::syscall(SYS_openat2, folder, name, &how, sizeof how)));
}

// The same file again, with other rights. The link in /proc leads to the descriptor's file whatever its name.
std::string again(const FileDescriptor& file) {
  return fmt::format("/proc/self/fd/{}", file.get());
}

// One component that names something in its folder.
bool good_name(const std::string& name) {
  return !name.empty() && name.size() <= NAME_MAX && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

int result(int value) {
  return value < 0 ? errno : 0;
}

}  // namespace

// A message's fields, in order. Past the end everything is zero and bad() is true.
class SharedFolder::Reader {
 public:
  explicit Reader(std::span<const u8> bytes) : bytes_(bytes) {}
  template <class T>
  T get() {
    T value{};
    if (const auto part = take(sizeof value); !part.empty()) std::memcpy(&value, part.data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto part = take(get<u16>());
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  std::span<const u8> take(std::size_t size) {
    if (size > bytes_.size()) {
      bad_ = true;
      bytes_ = {};
    }
    const auto part = bytes_.first(std::min(size, bytes_.size()));
    bytes_ = bytes_.subspan(part.size());
    return part;
  }
  [[nodiscard]] bool bad() const { return bad_; }

 private:
  std::span<const u8> bytes_;
  bool bad_ = false;
};

// An answer's fields behind the header.
class SharedFolder::Writer {
 public:
  explicit Writer(std::size_t room) : room_(room) {}
  template <class T>
  void put(const T& value) {
    append({reinterpret_cast<const u8*>(&value), sizeof value});
  }
  void text(std::string_view value) {
    put(static_cast<u16>(value.size()));
    append({reinterpret_cast<const u8*>(value.data()), value.size()});
  }
  void append(std::span<const u8> part) { bytes.insert(bytes.end(), part.begin(), part.end()); }
  [[nodiscard]] std::size_t room() const { return room_ - std::min(room_, bytes.size()); }

  std::vector<u8> bytes = std::vector<u8>(kHeader);

 private:
  std::size_t room_;
};

const SharedFolder::Message SharedFolder::kMessages[] = {
    {8, false, &SharedFolder::file_system},    {12, false, &SharedFolder::open},
    {14, true, &SharedFolder::create},         {16, true, &SharedFolder::make_link},
    {22, false, &SharedFolder::read_link},     {24, false, &SharedFolder::get_attributes},
    {26, true, &SharedFolder::set_attributes}, {40, false, &SharedFolder::read_folder},
    {50, false, &SharedFolder::sync},          {52, false, &SharedFolder::lock},
    {54, false, &SharedFolder::get_lock},      {70, true, &SharedFolder::make_hard_link},
    {72, true, &SharedFolder::make_folder},    {74, true, &SharedFolder::rename},
    {76, true, &SharedFolder::remove},         {100, false, &SharedFolder::version},
    {104, false, &SharedFolder::attach},       {108, false, &SharedFolder::flush},
    {110, false, &SharedFolder::walk},         {116, false, &SharedFolder::read},
    {118, true, &SharedFolder::write},         {120, false, &SharedFolder::forget},
};

SharedFolder::SharedFolder(const std::string& path, bool read_only)
    : root_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)), read_only_(read_only) {
  if (!root_.valid()) throw ShareError(fmt::format("{}: {}", path, std::strerror(errno)));
  if (!open_beneath(root_.get(), ".", O_RDONLY | O_DIRECTORY).valid())
    throw ShareError(fmt::format("{}: {}", path, std::strerror(errno)));
}

std::vector<u8> SharedFolder::answer(std::span<const u8> message, std::size_t room) {
  Reader in(message);
  const u32 size = in.get<u32>();
  const u8 type = in.get<u8>();
  const u16 tag = in.get<u16>();
  if (in.bad()) return {};
  Writer out(std::min(room, message_size_));
  const auto known = std::find_if(std::begin(kMessages), std::end(kMessages),
                                  [type](const Message& one) { return one.type == type; });
  int error = EOPNOTSUPP;
  if (size > message.size() || size < kHeader)
    error = EPROTO;
  else if (known != std::end(kMessages))
    error = known->changes && read_only_ ? EROFS : (this->*known->handler)(in, out);
  if (!error && (in.bad() || out.bytes.size() > room)) error = EPROTO;
  u8 answer_type = static_cast<u8>(type + 1);
  if (error) {
    answer_type = kError;
    out.bytes.resize(kHeader);
    out.put(static_cast<u32>(error));
  }
  const u32 answer_size = static_cast<u32>(out.bytes.size());
  std::memcpy(out.bytes.data(), &answer_size, 4);
  out.bytes[4] = answer_type;
  std::memcpy(out.bytes.data() + 5, &tag, 2);
  return std::move(out.bytes);
}

SharedFolder::Fid* SharedFolder::find(u32 fid) {
  const auto it = fids_.find(fid);
  return it == fids_.end() ? nullptr : &it->second;
}

int SharedFolder::add(u32 number, Fid fid) {
  if (fids_.size() >= kMostFids) return ENFILE;
  return fids_.emplace(number, std::move(fid)).second ? 0 : EBADF;
}

// --- The session.

int SharedFolder::version(Reader& in, Writer& out) {
  const std::size_t size = in.get<u32>();
  const std::string name = in.text();
  if (size < kSmallestMessage) return EINVAL;
  reset();
  message_size_ = std::min(size, kLargestMessage);
  out.put(static_cast<u32>(message_size_));
  out.text(name == "9P2000.L" ? name : "unknown");
  return 0;
}

int SharedFolder::attach(Reader& in, Writer& out) {
  const u32 number = in.get<u32>();
  if (in.bad()) return EPROTO;
  FileDescriptor root = open_beneath(root_.get(), ".", O_PATH | O_DIRECTORY);
  struct stat status {};
  if (!root.valid() || ::fstat(root.get(), &status) != 0) return errno;
  out.put(qid_of(status));
  return add(number, {std::move(root), FileDescriptor()});
}

int SharedFolder::flush(Reader& in, Writer&) {
  (void)in.get<u16>();  // what it names has been answered: nothing is ever under way
  return 0;
}

int SharedFolder::forget(Reader& in, Writer&) {
  const u32 number = in.get<u32>();
  if (in.bad()) return EPROTO;
  return fids_.erase(number) ? 0 : EBADF;
}

// Stops at the first name that is not there; only a complete walk makes the new fid.
int SharedFolder::walk(Reader& in, Writer& out) {
  const Fid* from = find(in.get<u32>());
  const u32 number = in.get<u32>();
  const u16 count = in.get<u16>();
  if (!from || count > kMostNames) return from ? EINVAL : EBADF;
  FileDescriptor at = open_beneath(from->path.get(), ".", O_PATH);
  // Not a folder: it can only be walked nowhere.
  if (!at.valid() && count == 0) at = FileDescriptor(::fcntl(from->path.get(), F_DUPFD_CLOEXEC, 0));
  if (!at.valid()) return errno;
  std::vector<Qid> qids;
  int error = 0;
  for (u16 i = 0; i < count && !in.bad(); ++i) {
    const std::string name = in.text();
    if (error) continue;
    FileDescriptor next;
    struct stat status {};
    if (!good_name(name))
      error = ENOENT;
    else if (next = open_beneath(at.get(), name.c_str(), O_PATH);
             !next.valid() || ::fstat(next.get(), &status) != 0)
      error = errno;
    if (error) continue;
    qids.push_back(qid_of(status));
    at = std::move(next);
  }
  if (in.bad()) return EPROTO;
  if (error && qids.empty()) return error;
  out.put(static_cast<u16>(qids.size()));
  for (const Qid& qid : qids) out.put(qid);
  if (error) return 0;
  Fid fid{std::move(at), FileDescriptor()};
  if (Fid* same = find(number); same && same == from) {
    *same = std::move(fid);
    return 0;
  }
  return add(number, std::move(fid));
}

// --- Files.

int SharedFolder::open(Reader& in, Writer& out) {
  Fid* fid = find(in.get<u32>());
  const int asked = static_cast<int>(in.get<u32>());
  if (in.bad()) return EPROTO;
  if (!fid || fid->open.valid()) return EBADF;
  struct stat status {};
  if (::fstat(fid->path.get(), &status) != 0) return errno;
  // Pipes and devices of the host are not the guest's.
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return EACCES;
  const int flags = asked & (O_ACCMODE | O_TRUNC | O_APPEND);
  if (read_only_ && flags != O_RDONLY) return EROFS;
  if (S_ISDIR(status.st_mode) && flags != O_RDONLY) return EISDIR;
  fid->open = FileDescriptor(::open(again(fid->path).c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fid->open.valid()) return errno;
  out.put(qid_of(status));
  out.put(u32{0});
  return 0;
}

int SharedFolder::create(Reader& in, Writer& out) {
  Fid* fid = find(in.get<u32>());
  const std::string name = in.text();
  const int asked = static_cast<int>(in.get<u32>());
  const mode_t mode = in.get<u32>() & kModes;
  if (in.bad()) return EPROTO;
  if (!fid || fid->open.valid()) return EBADF;
  if (!good_name(name)) return EINVAL;
  // Only what was not there: an existing file is opened by walking to it, where its type is looked at.
  FileDescriptor file = open_beneath(fid->path.get(), name.c_str(),
                                     (asked & (O_ACCMODE | O_APPEND)) | O_CREAT | O_EXCL | O_NOCTTY, mode);
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return errno;
  FileDescriptor path(::open(again(file).c_str(), O_PATH | O_CLOEXEC));
  if (!path.valid()) return errno;
  *fid = {std::move(path), std::move(file)};
  out.put(qid_of(status));
  out.put(u32{0});
  return 0;
}

int SharedFolder::read(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  const u64 offset = in.get<u64>();
  const std::size_t count = in.get<u32>();
  if (!fid || !fid->open.valid()) return EBADF;
  const std::size_t head = out.bytes.size() + sizeof(u32);
  const std::size_t most = std::min(count, out.room() - std::min(out.room(), sizeof(u32)));
  out.bytes.resize(head + most);
  const ssize_t got = ::pread(fid->open.get(), out.bytes.data() + head, most, static_cast<off_t>(offset));
  if (got < 0) return errno;
  out.bytes.resize(head + static_cast<std::size_t>(got));
  const u32 size = static_cast<u32>(got);
  std::memcpy(out.bytes.data() + head - sizeof size, &size, sizeof size);
  return 0;
}

int SharedFolder::write(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  const u64 offset = in.get<u64>();
  const auto data = in.take(in.get<u32>());
  if (in.bad()) return EPROTO;
  if (!fid || !fid->open.valid()) return EBADF;
  const ssize_t put = ::pwrite(fid->open.get(), data.data(), data.size(), static_cast<off_t>(offset));
  if (put < 0) return errno;
  out.put(static_cast<u32>(put));
  return 0;
}

int SharedFolder::sync(Reader& in, Writer&) {
  const Fid* fid = find(in.get<u32>());
  if (!fid || !fid->open.valid()) return EBADF;
  return result(::fsync(fid->open.get()));
}

// Locks are the guest's own affair: it keeps them itself.
int SharedFolder::lock(Reader& in, Writer& out) {
  if (!find(in.get<u32>())) return EBADF;
  out.put(u8{0});
  return 0;
}

int SharedFolder::get_lock(Reader& in, Writer& out) {
  if (!find(in.get<u32>())) return EBADF;
  (void)in.get<u8>();
  const u64 start = in.get<u64>(), length = in.get<u64>();
  const u32 process = in.get<u32>();
  const std::string client = in.text();
  if (client.size() > NAME_MAX) return EINVAL;
  out.put(static_cast<u8>(F_UNLCK));
  out.put(start);
  out.put(length);
  out.put(process);
  out.text(client);
  return 0;
}

// --- Folders.

int SharedFolder::read_folder(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  const u64 offset = in.get<u64>();
  const std::size_t count = in.get<u32>();
  if (!fid || !fid->open.valid()) return EBADF;
  struct stat status {};
  if (::fstat(fid->open.get(), &status) != 0) return errno;
  if (::lseek(fid->open.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return errno;
  const std::size_t head = out.bytes.size() + sizeof(u32);
  const std::size_t end = head + std::min(count, out.room() - std::min(out.room(), sizeof(u32)));
  out.put(u32{0});
  alignas(8) std::array<char, 32768> entries;
  bool full = false;
  while (!full) {
    const ssize_t got = ::getdents64(fid->open.get(), entries.data(), entries.size());
    if (got < 0) return errno;
    if (got == 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries.data() + at);
      const std::string_view name(entry->d_name);
      full = end - out.bytes.size() < sizeof(Qid) + 8 + 1 + 2 + name.size();
      if (full) break;
      const u8 type = entry->d_type == DT_DIR ? 0x80 : entry->d_type == DT_LNK ? 0x02 : 0;
      out.put(Qid{type, 0, path_of(status.st_dev, entry->d_ino)});
      out.put(static_cast<u64>(entry->d_off));
      out.put(static_cast<u8>(entry->d_type));
      out.text(name);
      at += entry->d_reclen;
    }
  }
  const u32 size = static_cast<u32>(out.bytes.size() - head);
  std::memcpy(out.bytes.data() + head - sizeof size, &size, sizeof size);
  return 0;
}

int SharedFolder::make_folder(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  const std::string name = in.text();
  const mode_t mode = in.get<u32>() & kModes;
  if (!fid || in.bad()) return EBADF;
  if (!good_name(name)) return EINVAL;
  struct stat status {};
  if (::mkdirat(fid->path.get(), name.c_str(), mode) != 0 ||
      ::fstatat(fid->path.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  out.put(qid_of(status));
  return 0;
}

int SharedFolder::make_link(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  const std::string name = in.text(), target = in.text();
  if (!fid || in.bad()) return EBADF;
  if (!good_name(name) || target.find('\0') != std::string::npos) return EINVAL;
  struct stat status {};
  if (::symlinkat(target.c_str(), fid->path.get(), name.c_str()) != 0 ||
      ::fstatat(fid->path.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  out.put(qid_of(status));
  return 0;
}

int SharedFolder::make_hard_link(Reader& in, Writer&) {
  const Fid *folder = find(in.get<u32>()), *fid = find(in.get<u32>());
  const std::string name = in.text();
  if (!folder || !fid || in.bad()) return EBADF;
  if (!good_name(name)) return EINVAL;
  struct stat status {};
  if (::fstat(fid->path.get(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode)) return EPERM;
  return result(
      ::linkat(AT_FDCWD, again(fid->path).c_str(), folder->path.get(), name.c_str(), AT_SYMLINK_FOLLOW));
}

int SharedFolder::read_link(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  if (!fid) return EBADF;
  std::array<char, PATH_MAX> target;
  const ssize_t size = ::readlinkat(fid->path.get(), "", target.data(), target.size());
  if (size < 0) return errno;
  out.text({target.data(), static_cast<std::size_t>(size)});
  return 0;
}

int SharedFolder::rename(Reader& in, Writer&) {
  const Fid* from = find(in.get<u32>());
  const std::string old_name = in.text();
  const Fid* to = find(in.get<u32>());
  const std::string new_name = in.text();
  if (!from || !to || in.bad()) return EBADF;
  if (!good_name(old_name) || !good_name(new_name)) return EINVAL;
  return result(::renameat(from->path.get(), old_name.c_str(), to->path.get(), new_name.c_str()));
}

int SharedFolder::remove(Reader& in, Writer&) {
  const Fid* fid = find(in.get<u32>());
  const std::string name = in.text();
  const int flags = static_cast<int>(in.get<u32>()) & AT_REMOVEDIR;
  if (!fid || in.bad()) return EBADF;
  return good_name(name) ? result(::unlinkat(fid->path.get(), name.c_str(), flags)) : EINVAL;
}

// --- Attributes.

int SharedFolder::get_attributes(Reader& in, Writer& out) {
  const Fid* fid = find(in.get<u32>());
  struct stat status {};
  if (!fid) return EBADF;
  if (::fstat(fid->path.get(), &status) != 0) return errno;
  out.put(kBasicAttributes);
  out.put(qid_of(status));
  out.put(static_cast<u32>(status.st_mode));
  out.put(static_cast<u32>(status.st_uid));
  out.put(static_cast<u32>(status.st_gid));
  for (const u64 value :
       {u64{status.st_nlink}, u64{0}, static_cast<u64>(status.st_size), static_cast<u64>(status.st_blksize),
        static_cast<u64>(status.st_blocks), static_cast<u64>(status.st_atim.tv_sec),
        static_cast<u64>(status.st_atim.tv_nsec), static_cast<u64>(status.st_mtim.tv_sec),
        static_cast<u64>(status.st_mtim.tv_nsec), static_cast<u64>(status.st_ctim.tv_sec),
        static_cast<u64>(status.st_ctim.tv_nsec), u64{0}, u64{0}, u64{0}, u64{0}})
    out.put(value);
  return 0;
}

// Owners stay: what the guest makes belongs to whoever runs the machine.
int SharedFolder::set_attributes(Reader& in, Writer&) {
  const Fid* fid = find(in.get<u32>());
  const u32 what = in.get<u32>();
  const mode_t mode = in.get<u32>() & kModes;
  (void)in.get<u64>();  // uid, gid
  const u64 size = in.get<u64>();
  timespec times[2];
  for (timespec& time : times) {
    time.tv_sec = static_cast<time_t>(in.get<u64>());
    time.tv_nsec = static_cast<long>(in.get<u64>());
  }
  if (!fid || in.bad()) return EBADF;
  struct stat status {};
  if (::fstat(fid->path.get(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return EPERM;
  const std::string file = again(fid->path);
  if ((what & kMode) && ::chmod(file.c_str(), mode) != 0) return errno;
  if ((what & kSize) && ::truncate(file.c_str(), static_cast<off_t>(size)) != 0) return errno;
  if (!(what & (kAtime | kMtime))) return 0;
  const auto choose = [what](timespec& time, u32 asked, u32 given) {
    if (!(what & asked))
      time.tv_nsec = UTIME_OMIT;
    else if (!(what & given))
      time.tv_nsec = UTIME_NOW;
  };
  choose(times[0], kAtime, kAtimeSet);
  choose(times[1], kMtime, kMtimeSet);
  return result(::utimensat(AT_FDCWD, file.c_str(), times, 0));
}

int SharedFolder::file_system(Reader& in, Writer& out) {
  if (!find(in.get<u32>())) return EBADF;
  struct statfs status {};
  if (::fstatfs(root_.get(), &status) != 0) return errno;
  out.put(u32{0x0102'1997});  // V9FS_MAGIC
  out.put(static_cast<u32>(status.f_bsize));
  for (const u64 value : {u64{status.f_blocks}, u64{status.f_bfree}, u64{status.f_bavail},
                          u64{status.f_files}, u64{status.f_ffree}, u64{0}})
    out.put(value);
  out.put(static_cast<u32>(NAME_MAX));
  return 0;
}

}  // namespace doppel::devices
