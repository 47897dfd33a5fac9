#include "devices/net/user_network.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "core/log.hpp"
#include "devices/net/large_segments.hpp"

namespace doppel::devices {

namespace {

using core::log;
using core::LogCategory;

// What libslirp may put into a TCP segment for a guest that takes large ones: a few of them in the window of
// 64 KiB, so that both sides have work.
constexpr u16 kLargeSegment = 32 * 1024 - 40;

in_addr address(u8 last) {
  return {htonl(0x0a00'0200u | last)};  // 10.0.2.last
}

in6_addr address6(u8 last) {
  in6_addr value{};
  value.s6_addr[0] = 0xfe;
  value.s6_addr[1] = 0xc0;
  value.s6_addr[15] = last;
  return value;
}

i64 now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return i64{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool is_listening(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0;
}

constexpr std::pair<int, short> kEvents[] = {{SLIRP_POLL_IN, POLLIN},
                                             {SLIRP_POLL_OUT, POLLOUT},
                                             {SLIRP_POLL_PRI, POLLPRI},
                                             {SLIRP_POLL_ERR, POLLERR},
                                             {SLIRP_POLL_HUP, POLLHUP}};

}  // namespace

// C functions with the network as their last argument.
struct UserNetwork::Callbacks {
  static UserNetwork& self(void* opaque) { return *static_cast<UserNetwork*>(opaque); }

  static ssize_t send_packet(const void* data, size_t size, void* opaque) {
    NetPort& port = self(opaque).port_;
    NetFrame frame(static_cast<const u8*>(data), size);
    frame.checksums_good = true;  // libslirp computes them
    self(opaque).limits_.answered(frame);
    fit_to_wire(std::move(frame), port.guest_takes_large(),
                [&port](NetFrame fitting) { port.deliver(std::move(fitting)); });
    return static_cast<ssize_t>(size);
  }
  static void guest_error(const char* message, void*) { log(LogCategory::kNet, "user network: {}", message); }
  static int64_t clock_get_ns(void*) { return now_ns(); }
  static void* timer_new(SlirpTimerCb function, void* argument, void* opaque) {
    return &self(opaque).timers_.emplace_back(SlirpTimer{function, argument, INT64_MAX});
  }
  static void timer_free(void* timer, void* opaque) {
    self(opaque).timers_.remove_if([timer](const SlirpTimer& one) { return &one == timer; });
  }
  static void timer_mod(void* timer, int64_t deadline_ms, void*) {
    static_cast<SlirpTimer*>(timer)->deadline_ms = deadline_ms;
  }
  // Of what is listening it says nothing. One that could not be made is "closed" as -1.
  static void register_poll_fd(int, void* opaque) { self(opaque).limits_.opened(); }
  static void unregister_poll_fd(int fd, void* opaque) {
    if (fd >= 0) self(opaque).limits_.closed();
  }
  static void notify(void*) {}

  static int add_poll(int fd, int events, void* opaque) {
    pollfd entry{fd, 0, 0};
    for (const auto& [theirs, ours] : kEvents)
      if (events & theirs) entry.events |= ours;
    if (self(opaque).limits_.full() && is_listening(fd)) entry.events = 0;
    auto& polled = self(opaque).polled_;
    polled.push_back(entry);
    return static_cast<int>(polled.size() - 1);
  }
  static int get_events(int index, void* opaque) {
    const short got = self(opaque).polled_[static_cast<std::size_t>(index)].revents;
    int events = 0;
    for (const auto& [theirs, ours] : kEvents)
      if (got & ours) events |= theirs;
    return events;
  }

  static constexpr SlirpCb kTable = {.send_packet = send_packet,
                                     .guest_error = guest_error,
                                     .clock_get_ns = clock_get_ns,
                                     .timer_new = timer_new,
                                     .timer_free = timer_free,
                                     .timer_mod = timer_mod,
                                     .register_poll_fd = register_poll_fd,
                                     .unregister_poll_fd = unregister_poll_fd,
                                     .notify = notify,
                                     .init_completed = nullptr,
                                     .timer_new_opaque = nullptr};
};

UserNetwork::UserNetwork(NetPort& port, const UserNetworkConfig& config) : port_(port) {
  const auto text = [](const std::string& value) { return value.empty() ? nullptr : value.c_str(); };
  SlirpConfig slirp{};
  slirp.version = 1;
  slirp.restricted = config.restricted;
  slirp.in_enabled = true;
  slirp.vnetwork = address(0);
  slirp.vnetmask = {htonl(0xffff'ff00)};
  slirp.vhost = address(2);
  slirp.in6_enabled = config.ipv6;
  slirp.vprefix_addr6 = address6(0);
  slirp.vprefix_len = 64;
  slirp.vhost6 = address6(2);
  slirp.vhostname = text(config.hostname);
  slirp.tftp_path = text(config.tftp);
  slirp.bootfile = text(config.bootfile);
  slirp.vdhcp_start = address(15);
  slirp.vnameserver = address(3);
  slirp.vnameserver6 = address6(3);
  slirp.if_mtu = kLargeSegment + 40;
  slirp.if_mru = kLargeSegment + 40;
  slirp_ = slirp_new(&slirp, &Callbacks::kTable, this);
  if (!slirp_) throw NetworkError("--net user: libslirp cannot start");
  for (const auto& forward : config.forwards) {
    if (slirp_add_hostfwd(slirp_, forward.udp, forward.host, forward.host_port, forward.guest,
                          forward.guest_port) == 0)
      continue;
    const int error = errno;
    slirp_cleanup(slirp_);
    throw NetworkError(fmt::format("hostfwd={}: the host's port cannot be opened: {}; use another",
                                   forward.text, std::strerror(error)));
  }
  // libslirp's two buffers of a connection: mapped each by itself, they cost only what is used of them, and
  // go back to the host with the connection.
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);
  port_.connect([this] { wake_.set(); }, true);
  thread_ = std::thread([this] { run(); });
}

UserNetwork::~UserNetwork() {
  stop_ = true;
  wake_.set();
  thread_.join();
  slirp_cleanup(slirp_);
}

void UserNetwork::run() {
  // Signals are the event thread's.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (!stop_) {
    polled_.assign(1, pollfd{wake_.fd(), POLLIN, 0});
    const bool room = port_.can_deliver();
    u32 wait = ~u32{0};
    if (room) slirp_pollfds_fill(slirp_, &wait, Callbacks::add_poll, this);
    const int ready = ::poll(polled_.data(), polled_.size(), timeout_ms(wait));
    if (polled_[0].revents) wake_.clear();
    if (room) slirp_pollfds_poll(slirp_, ready < 0, Callbacks::get_events, this);
    feed();
    run_timers();
  }
}

void UserNetwork::feed() {
  NetFrame frame;
  while (!stop_ && port_.can_deliver() && port_.take(frame)) {
    if (limits_.accept(frame)) {
      if (port_.guest_takes_large()) ask_for_large_segments(frame, kLargeSegment);
      slirp_input(slirp_, frame.bytes.data(), static_cast<int>(frame.bytes.size()));
    }
    limits_.handled();
  }
}

int UserNetwork::timeout_ms(u32 wanted) const {
  i64 wait = wanted == ~u32{0} ? 60'000 : i64{wanted};
  const i64 now = now_ns() / 1'000'000;
  for (const SlirpTimer& timer : timers_)
    if (timer.deadline_ms != INT64_MAX) wait = std::min(wait, std::max<i64>(timer.deadline_ms - now, 0));
  return static_cast<int>(std::min<i64>(wait, 60'000));
}

void UserNetwork::run_timers() {
  const i64 now = now_ns() / 1'000'000;
  for (auto it = timers_.begin(); it != timers_.end();) {
    SlirpTimer& timer = *it++;
    if (timer.deadline_ms > now) continue;
    timer.deadline_ms = INT64_MAX;
    timer.function(timer.argument);
  }
}

}  // namespace doppel::devices
