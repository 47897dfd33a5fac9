// The socket between a network card's model and a network: two queues of Ethernet frames, one each way. The
// model works on the vCPU's thread, the network (NAT, link, tap) on a thread of its own; neither knows the
// other. Both queues are bounded: a side that finds no room stops taking frames from its own source and is
// told when there is room again, so nothing that was accepted is lost and nobody fills the host's memory.
#pragma once

#include <array>
#include <atomic>
#include <boost/container/vector.hpp>
#include <deque>
#include <functional>
#include <mutex>

#include "core/types.hpp"

namespace doppel::devices {

using MacAddress = std::array<u8, 6>;

// An Ethernet frame without its checksum.
struct NetFrame {
  NetFrame() = default;
  explicit NetFrame(std::size_t size) : bytes(size, boost::container::default_init) {}
  NetFrame(const u8* data, std::size_t size) : bytes(data, data + size) {}

  boost::container::vector<u8> bytes;
  u16 segment = 0;              // not 0: a TCP segment longer than the wire's, to be cut into such pieces
  bool checksums_good = false;  // whoever made it vouches for them
};

inline constexpr std::size_t kEthernetHeader = 14;
// IP's largest packet, with an Ethernet header and a VLAN tag: no frame is longer.
inline constexpr std::size_t kLargestFrame = 65535 + kEthernetHeader + 4;

class NetPort {
 public:
  // Runs a function later on the vCPU's thread with the device lock held. Called from the network's thread.
  using Post = std::function<void(std::function<void()>)>;
  struct Events {
    std::function<void()> received;  // there are frames for the guest
    std::function<void()> room;      // can_send() is true again
  };

  explicit NetPort(Post post) : post_(std::move(post)) {}
  NetPort(const NetPort&) = delete;
  NetPort& operator=(const NetPort&) = delete;

  // --- For the model. Events come on the thread and under the lock that Post promises.
  void attach(Events events) { events_ = std::move(events); }
  // Whether the network takes segments larger than the wire's (NetFrame::segment).
  [[nodiscard]] bool large_frames() const { return large_frames_; }
  // Whether the guest takes them now.
  void set_guest_takes_large(bool takes) { guest_takes_large_ = takes; }
  // False: no room for now; Events::room follows.
  [[nodiscard]] bool can_send();
  // After can_send().
  void send(NetFrame frame);
  // Events::room comes soon: for a model that has done enough in one visit.
  void come_back() { post_room(); }
  // The oldest frame for the guest, or nullptr; it stays until pop().
  [[nodiscard]] const NetFrame* received() const;
  void pop();

  // --- For the network. `wake` is called on any thread when there are frames to take or room again.
  void connect(std::function<void()> wake, bool large_frames);
  [[nodiscard]] bool guest_takes_large() const { return guest_takes_large_; }
  // The next frame from the guest; false: there is none.
  [[nodiscard]] bool take(NetFrame& frame);
  // False: the guest is behind; nothing is to be delivered until `wake` is called.
  [[nodiscard]] bool can_deliver();
  // Best after can_deliver(). A frame beyond any reason is dropped.
  void deliver(NetFrame frame);

 private:
  static constexpr std::size_t kEnough = std::size_t{4} << 20;    // bytes; then a queue is full
  static constexpr std::size_t kTooMuch = std::size_t{64} << 20;  // what one round of a network may add
  static constexpr std::size_t kOverhead = 256;                   // of a frame, whatever its size

  struct Queue {
    std::deque<NetFrame> frames;
    std::size_t bytes = 0;
    bool wanted = false;  // somebody waits for room
    void push(NetFrame frame);
    // Takes the oldest away. `room`: whoever waits for room has it now.
    [[nodiscard]] NetFrame pop(bool& room);
  };

  void post_room();

  Post post_;
  Events events_;
  std::function<void()> wake_ = [] {};
  bool large_frames_ = false;
  std::atomic<bool> guest_takes_large_{false};
  mutable std::mutex mutex_;
  Queue to_network_, to_guest_;
  bool reported_ = false;  // Events::received is on its way
};

}  // namespace doppel::devices
