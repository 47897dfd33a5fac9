#include "devices/net/packet_network.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>

namespace doppel::devices {

namespace {

constexpr int kRetryMs = 200;
constexpr int kBurst = 64;  // frames one way before a look at the other

}  // namespace

PacketNetwork::PacketNetwork(NetPort& port, std::unique_ptr<PacketSource> source)
    : port_(port), source_(std::move(source)), buffer_(kLargestFrame + 1) {
  port_.connect([this] { wake_.set(); }, false);
  thread_ = std::thread([this] { run(); });
}

PacketNetwork::~PacketNetwork() {
  stop_ = true;
  wake_.set();
  thread_.join();
}

void PacketNetwork::run() {
  // Signals are the event thread's.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  while (!stop_) {
    if (!packets_.valid()) packets_ = source_->open();
    send();
    if (packets_.valid()) receive();
    wait();
  }
}

void PacketNetwork::wait() {
  const bool there = packets_.valid();
  pollfd polled[2] = {{wake_.fd(), POLLIN, 0}, {there ? packets_.get() : source_->waits_for(), 0, 0}};
  if (!there || port_.can_deliver()) polled[1].events |= POLLIN;
  if (there && !pending_.bytes.empty()) polled[1].events |= POLLOUT;
  // A descriptor that is not asked about still reports its end.
  (void)::poll(polled, 2, there || source_->waits_for() >= 0 ? -1 : kRetryMs);
  if (polled[0].revents) wake_.clear();
  if (there && (polled[1].revents & (POLLERR | POLLHUP)) && !(polled[1].revents & POLLIN))
    packets_ = FileDescriptor();
}

void PacketNetwork::send() {
  for (int count = 0; !pending_.bytes.empty() || port_.take(pending_); ++count) {
    if (packets_.valid()) {
      if (count == kBurst) return wake_.set();
      if (::write(packets_.get(), pending_.bytes.data(), pending_.bytes.size()) < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return;
        // ENOBUFS, EMSGSIZE and the like lose this frame only.
        if (errno == EPIPE || errno == ECONNRESET || errno == EBADFD) packets_ = FileDescriptor();
      }
    }
    pending_ = NetFrame();
  }
}

void PacketNetwork::receive() {
  for (int count = 0; port_.can_deliver(); ++count) {
    if (count == kBurst) return wake_.set();
    const ssize_t size = ::read(packets_.get(), buffer_.data(), buffer_.size());
    if (size > 0) {
      if (static_cast<std::size_t>(size) <= kLargestFrame)
        port_.deliver(NetFrame(buffer_.data(), static_cast<std::size_t>(size)));
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    packets_ = FileDescriptor();
    return;
  }
}

}  // namespace doppel::devices
