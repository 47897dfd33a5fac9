#include "core/machine/console.hpp"

#include <doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace doppel::machine {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() { REQUIRE(::pipe(fds) == 0); }
  ~Pipe() {
    ::close(fds[0]);
    if (fds[1] >= 0) ::close(fds[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void send(std::string_view text) const {
    REQUIRE(::write(fds[1], text.data(), text.size()) == ssize_t(text.size()));
  }
  void close_writer() {
    ::close(fds[1]);
    fds[1] = -1;
  }
  // Everything up to the end of input.
  [[nodiscard]] std::string receive() {
    close_writer();
    std::string text(1 << 20, 0);
    std::size_t size = 0;
    for (ssize_t n; (n = ::read(fds[0], &text[size], text.size() - size)) > 0;)
      size += static_cast<std::size_t>(n);
    text.resize(size);
    return text;
  }
  int fds[2];
};

// What the guest and the machine get of the input.
struct Input {
  explicit Input(int fd, bool keys = true)
      : console(events, fd, keys,
                {.deliver =
                     [this](std::span<const u8> bytes) {
                       const std::size_t taken = std::min(bytes.size(), room);
                       guest.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
                       room -= taken;
                       return taken;
                     },
                 .quit = [this] { machine += "quit "; },
                 .reset = [this] { machine += "reset "; }}) {
    console.start();
  }
  void run() {
    events.restart();
    events.run_for(20ms);
  }

  boost::asio::io_context events;
  std::string guest, machine;
  std::size_t room = 1000;
  ConsoleInput console;
};

}  // namespace

TEST_CASE("keys after Ctrl-A are for the machine") {
  struct Case {
    const char *typed, *guest, *machine;
  };
  for (const Case& c :
       {Case{"plain text\r", "plain text\r", ""}, Case{"\x01x", "", "quit "}, Case{"\x01r", "", "reset "},
        Case{"a\x01rb", "ab", "reset "}, Case{"\x01\x01", "\x01", ""},
        Case{"\x01"
             "a",
             "\x01", ""},
        Case{"\x01hz", "z", ""}, Case{"\x03\x04\x1a", "\x03\x04\x1a", ""}, Case{"\x01\x01x", "\x01x", ""},
        Case{"\x01r\x01x", "", "reset quit "}}) {
    CAPTURE(std::string(c.typed));
    const Pipe pipe;
    Input input(pipe.fds[0]);
    pipe.send(c.typed);
    input.run();
    CHECK(input.guest == c.guest);
    CHECK(input.machine == c.machine);

    const Pipe slow;  // one byte at a time
    Input slow_input(slow.fds[0]);
    for (const char& key : std::string_view(c.typed)) {
      slow.send({&key, 1});
      slow_input.run();
    }
    CHECK(slow_input.guest == c.guest);
    CHECK(slow_input.machine == c.machine);
  }
}

TEST_CASE("without keys every byte is the guest's") {
  const Pipe pipe;
  Input input(pipe.fds[0], false);
  pipe.send("\x01x\x01r");
  input.run();
  CHECK(input.guest == "\x01x\x01r");
  CHECK(input.machine.empty());
}

TEST_CASE("a guest that is behind gets the rest later, in order") {
  const Pipe pipe;
  Input input(pipe.fds[0]);
  input.room = 3;
  pipe.send("abcdef");
  input.run();
  CHECK(input.guest == "abc");
  pipe.send("ghi");
  input.run();
  CHECK(input.guest == "abc");
  input.room = 1;
  input.console.resume();
  input.run();
  CHECK(input.guest == "abcd");
  input.room = 100;
  input.console.resume();
  input.run();
  CHECK(input.guest == "abcdefghi");
}

TEST_CASE("input from a file, from nowhere, and to its end") {
  char path[] = "/tmp/doppel_console_XXXXXX";
  const int file = ::mkstemp(path);
  REQUIRE(file >= 0);
  ::unlink(path);
  REQUIRE(::write(file, "from a file", 11) == 11);
  ::lseek(file, 0, SEEK_SET);
  Input input(file, false);
  input.run();
  CHECK(input.guest == "from a file");
  ::close(file);

  const int null = ::open("/dev/null", O_RDONLY);
  Input empty(null, false);
  empty.run();
  CHECK(empty.guest.empty());
  CHECK(empty.events.stopped());  // it does not read for ever
  ::close(null);

  Pipe pipe;
  Input closed(pipe.fds[0]);
  pipe.send("last words");
  pipe.close_writer();
  closed.run();
  CHECK(closed.guest == "last words");
  CHECK(closed.events.stopped());
}

TEST_CASE("stopped input reads nothing more, and leaves the descriptor open") {
  const Pipe pipe;
  {
    Input input(pipe.fds[0]);
    input.console.stop();
    pipe.send("later");
    input.run();
    CHECK(input.guest.empty());
  }
  char bytes[8];
  CHECK(::read(pipe.fds[0], bytes, sizeof bytes) == 5);
}

TEST_CASE("output is written in order, by the event loop or in the end") {
  Pipe pipe;
  boost::asio::io_context events;
  {
    OutputBackend output(events, pipe.fds[1]);
    for (const char c : std::string("first ")) output.write(static_cast<u8>(c));
    events.run_for(20ms);
    char bytes[8] = {};
    CHECK(::read(pipe.fds[0], bytes, sizeof bytes) == 6);
    CHECK(std::string(bytes) == "first ");
    for (const char c : std::string("second")) output.write(static_cast<u8>(c));
  }
  CHECK(pipe.receive() == "second");
}

TEST_CASE("a guest that writes faster than the event loop runs loses nothing") {
  Pipe pipe;
  boost::asio::io_context events;
  std::string sent, received;
  std::thread reader([&] {
    char bytes[4096];
    for (ssize_t n; (n = ::read(pipe.fds[0], bytes, sizeof bytes)) > 0;)
      received.append(bytes, static_cast<std::size_t>(n));
  });
  {
    OutputBackend output(events, pipe.fds[1]);
    for (u32 i = 0; i < 200'000; ++i) {
      const char c = static_cast<char>('a' + i % 26);
      sent += c;
      output.write(static_cast<u8>(c));
    }
  }
  pipe.close_writer();
  reader.join();
  CHECK(received == sent);
}

TEST_CASE("output that nobody reads any more is dropped") {
  Pipe pipe;
  std::signal(SIGPIPE, SIG_IGN);  // as doppel does
  boost::asio::io_context events;
  OutputBackend output(events, pipe.fds[1]);
  ::close(std::exchange(pipe.fds[0], ::open("/dev/null", O_RDONLY)));
  for (u32 i = 0; i < 100'000; ++i) output.write('x');
  output.flush();
}

}  // namespace doppel::machine
