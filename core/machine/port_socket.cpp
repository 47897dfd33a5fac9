#include "core/machine/port_socket.hpp"

#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <mutex>
#include <optional>

#include "core/machine/listening_socket.hpp"

namespace doppel::machine {

namespace {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;
using Failure = boost::system::error_code;

constexpr std::size_t kMostOutput = std::size_t{1} << 20;

}  // namespace

// Kept by its own handlers until the event loop drops them.
class PortSocket::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& events, const std::string& path)
      : events_(events),
        listening_(ListeningSocket::unix_file("--port", path)),
        acceptor_(events, Local(), ::dup(listening_.fd())) {}

  void start(Guest guest) {
    guest_ = std::move(guest);
    accept();
  }

  void write(u8 byte) {
    std::lock_guard guard(mutex_);
    if (!open_ || output_.size() >= kMostOutput) return;
    output_ += static_cast<char>(byte);
    if (!std::exchange(writing_, true)) asio::post(events_, [self = shared_from_this()] { self->send(); });
  }

  void room() {
    asio::post(events_, [self = shared_from_this()] {
      if (!self->input_.empty()) self->offer();
    });
  }

 private:
  void accept() {
    acceptor_.async_accept([self = shared_from_this()](const Failure& error, Local::socket socket) {
      if (error) return;
      self->client_.emplace(std::move(socket));
      self->set_open(true);
      self->read();
    });
  }

  void set_open(bool open) {
    {
      std::lock_guard guard(mutex_);
      open_ = open;
      output_.clear();
    }
    guest_.connected(open);
  }

  void close() {
    if (!client_) return;
    client_.reset();
    input_.clear();
    set_open(false);
    accept();
  }

  void read() {
    client_->async_read_some(asio::buffer(chunk_),
                             [self = shared_from_this()](const Failure& error, std::size_t size) {
                               if (error == asio::error::operation_aborted) return;
                               if (error) return self->close();
                               self->input_.assign(self->chunk_.data(), size);
                               self->offer();
                             });
  }

  // One offer at a time; what the guest leaves is offered again when it says so.
  void offer() {
    if (std::exchange(offering_, true)) return;
    guest_.offer(input_, [self = shared_from_this()](std::size_t taken) {
      asio::post(self->events_, [self, taken] {
        self->offering_ = false;
        self->input_.erase(0, taken);
        if (self->input_.empty() && self->client_) self->read();
      });
    });
  }

  void send() {
    {
      std::lock_guard guard(mutex_);
      sending_ = std::exchange(output_, std::string());
      if (sending_.empty() || !client_) {
        writing_ = false;
        return;
      }
    }
    asio::async_write(*client_, asio::buffer(sending_),
                      [self = shared_from_this()](const Failure&, std::size_t) {
                        self->send();  // an error shows in read(), too
                      });
  }

  asio::io_context& events_;
  ListeningSocket listening_;
  Local::acceptor acceptor_;
  Guest guest_;
  std::optional<Local::socket> client_;
  std::array<char, 4096> chunk_{};
  std::string input_, sending_;
  bool offering_ = false;
  std::mutex mutex_;
  std::string output_;
  bool open_ = false, writing_ = false;
};

PortSocket::PortSocket(asio::io_context& events, const std::string& path)
    : impl_(std::make_shared<Impl>(events, path)) {}
PortSocket::~PortSocket() = default;

void PortSocket::start(Guest guest) {
  impl_->start(std::move(guest));
}
void PortSocket::write(u8 byte) {
  impl_->write(byte);
}
void PortSocket::room() {
  impl_->room();
}

}  // namespace doppel::machine
