#include "devices/storage/storage_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <system_error>

namespace doppel::devices {

namespace {

constexpr int kActivatedSocket = 3;  // sd_listen_fds(3)
constexpr int kConnections = 16;     // that wait to be accepted
constexpr int kPatienceSeconds = 30;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

FileDescriptor unix_socket() {
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) fail("socket for a storage server");
  return socket;
}

// What the child runs between fork and exec: system calls only, everything it needs was made before.
struct Launch {
  std::vector<char*> arguments, environment;
  char listen_pid[32] = "LISTEN_PID=";
  pid_t parent;
  int listening, messages, null;

  [[noreturn]] void run() {
    constexpr std::size_t kPrefix = sizeof "LISTEN_PID=" - 1;
    *std::to_chars(listen_pid + kPrefix, listen_pid + sizeof listen_pid - 1, ::getpid()).ptr = '\0';
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);  // it has died before it could be told
    ::setpgid(0, 0);                        // Ctrl-C is for the hypervisor, which then ends the connections
    ::dup2(null, STDIN_FILENO);
    ::dup2(messages, STDOUT_FILENO);
    ::dup2(messages, STDERR_FILENO);
    if (listening == kActivatedSocket)
      ::fcntl(kActivatedSocket, F_SETFD, 0);
    else
      ::dup2(listening, kActivatedSocket);
    ::execvpe(arguments.front(), arguments.data(), environment.data());
    const char* reason = std::strerror(errno);
    (void)!::write(STDERR_FILENO, arguments.front(), std::strlen(arguments.front()));
    (void)!::write(STDERR_FILENO, ": ", 2);
    (void)!::write(STDERR_FILENO, reason, std::strlen(reason));
    ::_exit(127);
  }
};

}  // namespace

StorageServer::StorageServer(std::vector<std::string> arguments) {
  const FileDescriptor listening = unix_socket();
  // A bare family asks the kernel for a free abstract address: unix(7), "Autobind feature".
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  socklen_t length = sizeof name.sun_family;
  if (::bind(listening.get(), reinterpret_cast<sockaddr*>(&name), length) != 0 ||
      ::listen(listening.get(), kConnections) != 0 ||
      (length = sizeof name, ::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&name), &length)) !=
          0)
    fail("socket for a storage server");
  address_.assign(reinterpret_cast<char*>(&name), length);

  // The child must never wait for us to read: what does not fit into the pipe is lost.
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) fail("pipe for a storage server");
  messages_ = FileDescriptor(pipe_ends[0]);
  const FileDescriptor write_end(pipe_ends[1]);
  const FileDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) fail("/dev/null");

  Launch launch;
  for (std::string& argument : arguments) launch.arguments.push_back(argument.data());
  launch.arguments.push_back(nullptr);
  for (char** variable = ::environ; *variable; ++variable) launch.environment.push_back(*variable);
  char listen_fds[] = "LISTEN_FDS=1";
  launch.environment.insert(launch.environment.end(), {launch.listen_pid, listen_fds, nullptr});
  launch.parent = ::getpid();
  launch.listening = listening.get();
  launch.messages = write_end.get();
  launch.null = null.get();
  child_ = ::fork();
  if (child_ < 0) fail("process for a storage server");
  if (child_ == 0) launch.run();
}

StorageServer::~StorageServer() {
  wait_for_end(kPatienceSeconds);
}

FileDescriptor StorageServer::connect() const {
  FileDescriptor socket = unix_socket();
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(address_.data()),
                static_cast<socklen_t>(address_.size())) != 0)
    return FileDescriptor();
  return socket;
}

std::string StorageServer::stop() {
  wait_for_end(1);
  std::string text;
  std::array<char, 4096> chunk;
  ssize_t got;
  while ((got = ::read(messages_.get(), chunk.data(), chunk.size())) > 0)
    text.append(chunk.data(), static_cast<std::size_t>(got));
  return text;
}

void StorageServer::wait_for_end(int seconds) {
  if (child_ < 0) return;
  const FileDescriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, child_, 0)));
  pollfd ended{handle.get(), POLLIN, 0};
  if (!handle.valid() || ::poll(&ended, 1, seconds * 1000) <= 0) ::kill(child_, SIGKILL);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
}

}  // namespace doppel::devices
