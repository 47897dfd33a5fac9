#include "devices/storage/image_lock.hpp"

#include <fcntl.h>

#include <cerrno>

#include "core/types.hpp"

namespace doppel::devices {

namespace {

// A user of an image holds a shared lock on byte kUses + n for what it does and on kForbids + n for what it
// does not want others to do.
constexpr off_t kUses = 100, kForbids = 200;
enum Permission : off_t { kConsistentRead = 0, kWrite = 1, kResize = 3 };

struct flock byte_lock(short type, off_t at) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

// EAGAIN or EACCES: somebody holds it.
bool refused(int fd, off_t at) {
  struct flock lock = byte_lock(F_RDLCK, at);
  return ::fcntl(fd, F_OFD_SETLK, &lock) != 0 && (errno == EAGAIN || errno == EACCES);
}

bool held_by_others(int fd, off_t at) {
  struct flock lock = byte_lock(F_WRLCK, at);
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace

// First all own locks, then the look at those of others: of two that start at once, at least one sees the
// other.
bool lock_image(int fd, bool for_writing) {
  if (refused(fd, kUses + kConsistentRead) || refused(fd, kForbids + kWrite) ||
      refused(fd, kForbids + kResize) || (for_writing && refused(fd, kUses + kWrite)))
    return false;
  if (held_by_others(fd, kForbids + kConsistentRead) || held_by_others(fd, kUses + kWrite) ||
      held_by_others(fd, kUses + kResize))
    return false;
  return !for_writing || !held_by_others(fd, kForbids + kWrite);
}

}  // namespace doppel::devices
