// A folder of the host as a 9P2000.L server: a message in, its answer out. Everything in a message is
// hostile. The guest cannot leave the folder: a fid is a descriptor, a name is one component, and no symbolic
// link is ever followed here (the guest follows them itself, in its own name space), so nothing that changes
// meanwhile on either side can redirect a lookup. Used by Virtio9p. It knows no queue. Source: the protocol
// as Linux' v9fs documents it (Documentation/filesystems/9p.rst) and diod's protocol.md.
#pragma once

#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/types.hpp"
#include "devices/storage/file_io.hpp"

struct stat;

namespace doppel::devices {

// The folder cannot be shared; what() is a sentence for the user, without its full stop.
class ShareError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SharedFolder {
 public:
  // Throws ShareError.
  SharedFolder(const std::string& path, bool read_only);

  static constexpr std::size_t kLargestMessage = 256 * 1024;
  static constexpr std::size_t kMostFids = 2048;

  // The answer, at most `room` bytes (at least 11); empty if there is no message to answer at all.
  [[nodiscard]] std::vector<u8> answer(std::span<const u8> message, std::size_t room);
  // Forgets everything the guest opened.
  void reset() { fids_.clear(); }

 private:
  class Reader;
  class Writer;
  struct Fid {
    FileDescriptor path;  // O_PATH: what it is
    FileDescriptor open;  // for reading and writing; invalid before Tlopen
  };

  // One for each message; 0 or an errno value.
  int version(Reader& in, Writer& out);
  int attach(Reader& in, Writer& out);
  int walk(Reader& in, Writer& out);
  int open(Reader& in, Writer& out);
  int create(Reader& in, Writer& out);
  int read(Reader& in, Writer& out);
  int write(Reader& in, Writer& out);
  int read_folder(Reader& in, Writer& out);
  int get_attributes(Reader& in, Writer& out);
  int set_attributes(Reader& in, Writer& out);
  int file_system(Reader& in, Writer& out);
  int make_folder(Reader& in, Writer& out);
  int make_link(Reader& in, Writer& out);
  int make_hard_link(Reader& in, Writer& out);
  int read_link(Reader& in, Writer& out);
  int rename(Reader& in, Writer& out);
  int remove(Reader& in, Writer& out);
  int sync(Reader& in, Writer& out);
  int lock(Reader& in, Writer& out);
  int get_lock(Reader& in, Writer& out);
  int forget(Reader& in, Writer& out);
  int flush(Reader& in, Writer& out);

  struct Message {
    u8 type;
    bool changes;  // refused where the folder is read-only
    int (SharedFolder::*handler)(Reader&, Writer&);
  };
  static const Message kMessages[];

  [[nodiscard]] Fid* find(u32 fid);
  [[nodiscard]] int add(u32 number, Fid fid);

  FileDescriptor root_;
  bool read_only_;
  std::size_t message_size_ = kLargestMessage;
  std::map<u32, Fid> fids_;
};

}  // namespace doppel::devices
