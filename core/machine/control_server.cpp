#include "core/machine/control_server.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

#include "core/machine/control_commands.hpp"
#include "core/machine/listening_socket.hpp"

namespace doppel::machine {

namespace asio = boost::asio;
using Local = asio::local::stream_protocol;
using Failure = boost::system::error_code;

namespace {

constexpr std::size_t kLongestLine = 65536;
constexpr int kMostSessions = 16;
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

ListeningSocket listen_at(const std::string& where) {
  constexpr std::string_view kUnix = "unix:";
  if (!where.starts_with(kUnix)) throw ConfigError(fmt::format("--control {}: write unix:PATH.", where));
  return ListeningSocket::unix_file("--control", where.substr(kUnix.size()));
}

}  // namespace

class ControlServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const std::string& where, asio::io_context& loop, Machine& vm)
      : events(loop), machine(vm), socket_(listen_at(where)), acceptor_(loop), retry_(loop) {
    acceptor_.assign(Local(), ::dup(socket_.fd()));
  }
  void accept();

  asio::io_context& events;
  Machine& machine;
  asio::thread_pool worker{1};
  int sessions = 0;

 private:
  ListeningSocket socket_;
  Local::acceptor acceptor_;
  asio::steady_timer retry_;
};

// One connection: a line, its answer, the next line.
class ControlServer::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Impl> server, Local::socket socket)
      : server_(std::move(server)), socket_(std::move(socket)), buffer_(kLongestLine) {
    ++server_->sessions;
  }
  ~Session() { --server_->sessions; }

  void read() {
    asio::async_read_until(socket_, buffer_, '\n',
                           [self = shared_from_this()](const Failure& error, std::size_t size) {
                             if (error == asio::error::not_found)  // no end within the limit
                               self->send(R"({"error":"the message is too long"})", false);
                             else if (!error)
                               self->take(size);
                           });
  }

 private:
  void take(std::size_t size) {
    const auto* data = static_cast<const char*>(buffer_.data().data());
    const std::string line(data, size - 1);
    buffer_.consume(size);
    Request request = understand(line, server_->machine);
    if (!request.slow) return send(request.answer(), true);
    asio::post(server_->worker, [self = shared_from_this(), answer = std::move(request.answer)]() mutable {
      std::string text = answer();
      asio::io_context& events = self->server_->events;
      asio::post(events, [self = std::move(self), text = std::move(text)] { self->send(text, true); });
    });
  }

  void send(std::string answer, bool go_on) {
    answer_ = std::move(answer) + "\n";
    asio::async_write(socket_, asio::buffer(answer_),
                      [self = shared_from_this(), go_on](const Failure& error, std::size_t) {
                        if (!error && go_on) self->read();
                      });
  }

  std::shared_ptr<Impl> server_;
  Local::socket socket_;
  asio::streambuf buffer_;
  std::string answer_;
};

void ControlServer::Impl::accept() {
  acceptor_.async_accept([self = shared_from_this()](const Failure& error, Local::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error && self->sessions < kMostSessions) std::make_shared<Session>(self, std::move(socket))->read();
    if (!error) return self->accept();
    self->retry_.expires_after(kAcceptRetry);  // no descriptor left: others must close theirs first
    self->retry_.async_wait([self](const Failure& cancelled) {
      if (!cancelled) self->accept();
    });
  });
}

ControlServer::ControlServer(const std::string& where, asio::io_context& events, Machine& machine)
    : impl_(std::make_shared<Impl>(where, events, machine)) {
  impl_->accept();
}

ControlServer::~ControlServer() {
  impl_->worker.join();
}

}  // namespace doppel::machine
