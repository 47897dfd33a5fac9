#include "core/machine/vnc_server.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <set>
#include <thread>

#include "core/log.hpp"
#include "core/machine/listening_socket.hpp"
#include "core/machine/machine.hpp"

namespace doppel::machine {

namespace {

using Time = std::chrono::steady_clock;

constexpr u16 kFirstPort = 5900;
constexpr u32 kDisplayNumbers = 100;  // larger numbers are ports
constexpr auto kFrame = std::chrono::milliseconds(33);
constexpr int kMostViewers = 16;
constexpr int kSlowestMs = 5000;  // a viewer that takes nothing for so long is dropped

[[gnu::format(printf, 1, 2)]] void log_message(const char* format, ...) {
  if (!core::log_enabled(core::LogCategory::kMachine)) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  std::string_view message(text);
  while (message.ends_with('\n')) message.remove_suffix(1);
  core::log(core::LogCategory::kMachine, "vnc: {}", message);
}

ListeningSocket listen_at(const std::string& where) {
  if (where.starts_with("unix:")) return ListeningSocket::unix_file("--vnc", where.substr(5));
  const auto colon = where.rfind(':');
  u32 number = 0;
  const char* end = where.data() + where.size();
  if (colon == std::string::npos ||
      std::from_chars(where.data() + colon + 1, end, number) != std::from_chars_result{end, std::errc{}} ||
      number > 0xffff)
    throw ConfigError(fmt::format(
        "--vnc {}: write :NUMBER, HOST:NUMBER or unix:PATH, as in --vnc :0 for port 5900.", where));
  std::string host = where.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) host = "127.0.0.1";
  return ListeningSocket::tcp("--vnc", host,
                              static_cast<u16>(number < kDisplayNumbers ? kFirstPort + number : number));
}

// What one viewer holds down, and where its pointer was.
struct Viewer {
  std::set<const devices::Key*> keys;
  int x = -1, y = -1;
  int buttons = 0;
};

}  // namespace

class VncServer::Impl {
 public:
  Impl(const VncConfig& config, const Display& display, HostInput& input)
      : display_(display), input_(input), password_(config.password), socket_(listen_at(config.where)) {
    rfbLog = rfbErr = log_message;
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    surface_.resize(640, 480);
    screen_ = rfbGetScreen(nullptr, nullptr, static_cast<int>(surface_.width()),
                           static_cast<int>(surface_.height()), 8, 3, 4);
    if (!screen_ || wake_ < 0) throw ConfigError("--vnc: the host has no memory for it.");
    screen_->desktopName = "Doppel";
    screen_->screenData = this;
    screen_->alwaysShared = TRUE;
    screen_->autoPort = FALSE;
    screen_->port = screen_->ipv6port = 0;  // connections are accepted here
    screen_->cursor = nullptr;              // the guest draws its own
    screen_->maxClientWait = kSlowestMs;
    screen_->kbdAddEvent = [](rfbBool down, rfbKeySym keysym, rfbClientPtr client) {
      from(client).on_key(viewer(client), down, keysym);
    };
    screen_->ptrAddEvent = [](int buttons, int x, int y, rfbClientPtr client) {
      from(client).on_pointer(viewer(client), buttons, x, y);
    };
    screen_->newClientHook = [](rfbClientPtr client) { return from(client).on_connect(client); };
    if (!password_.empty()) {
      passwords_[0] = password_.data();
      screen_->authPasswdData = passwords_;
      screen_->passwordCheck = rfbCheckPasswordByList;
    }
    show_surface();
    rfbInitServer(screen_);
    thread_ = std::thread([this] { serve(); });
  }

  ~Impl() {
    stopping_ = true;
    const u64 one = 1;
    (void)!::write(wake_, &one, sizeof one);
    thread_.join();
    rfbShutdownServer(screen_, TRUE);
    screen_->frameBuffer = nullptr;
    rfbScreenCleanup(screen_);
    ::close(wake_);
  }

 private:
  static Impl& from(rfbClientPtr client) { return *static_cast<Impl*>(client->screen->screenData); }
  static Viewer& viewer(rfbClientPtr client) { return *static_cast<Viewer*>(client->clientData); }

  void serve() {
    while (!stopping_) {
      if (!screen_->clientHead) {
        pollfd wait[] = {{socket_.fd(), POLLIN, 0}, {wake_, POLLIN, 0}};
        ::poll(wait, 2, -1);
      }
      accept_viewers();
      const auto left =
          std::chrono::duration_cast<std::chrono::microseconds>(next_frame_ - Time::now()).count();
      rfbProcessEvents(screen_, left > 0 ? static_cast<long>(left) : 0);
      if (Time::now() >= next_frame_) draw();
    }
  }

  void accept_viewers() {
    int fd;
    while ((fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0)
      if (!rfbNewClient(screen_, fd)) log_message("a viewer went away at once");
  }

  void draw() {
    next_frame_ = Time::now() + kFrame;
    display_.draw(surface_, true);
    if (surface_.take_resized()) show_surface();
    for (const auto& r : surface_.take_damage())
      rfbMarkRectAsModified(screen_, static_cast<int>(r.x), static_cast<int>(r.y),
                            static_cast<int>(r.x + r.width), static_cast<int>(r.y + r.height));
  }

  // Gives the library the surface as it is now. It resets the pixel format, so that has to follow.
  void show_surface() {
    auto* pixels = reinterpret_cast<char*>(const_cast<u32*>(surface_.pixels().data()));
    rfbNewFramebuffer(screen_, pixels, static_cast<int>(surface_.width()),
                      static_cast<int>(surface_.height()), 8, 3, 4);
    screen_->serverFormat.redShift = 16;
    screen_->serverFormat.greenShift = 8;
    screen_->serverFormat.blueShift = 0;
    rfbClientIteratorPtr iterator = rfbGetClientIterator(screen_);
    while (rfbClientPtr client = rfbClientIteratorNext(iterator)) screen_->setTranslateFunction(client);
    rfbReleaseClientIterator(iterator);
  }

  rfbNewClientAction on_connect(rfbClientPtr client) {
    if (viewers_ >= kMostViewers) return RFB_CLIENT_REFUSE;
    ++viewers_;
    client->clientData = new Viewer;  // freed by the hook below
    client->clientGoneHook = [](rfbClientPtr gone) { from(gone).on_disconnect(gone); };
    return RFB_CLIENT_ACCEPT;
  }

  void on_disconnect(rfbClientPtr client) {
    const std::unique_ptr<Viewer> gone(static_cast<Viewer*>(client->clientData));
    client->clientData = nullptr;
    if (!gone) return;
    --viewers_;
    for (const auto* key : gone->keys) input_.key(*key, false);
    if (gone->buttons != 0) input_.move_mouse(0, 0, 0, 0);
  }

  void on_key(Viewer& from_viewer, bool down, u32 keysym) {
    const auto* key = devices::key_by_keysym(keysym);
    if (!key) return log_message("no key for keysym %#x", keysym);
    if (down)
      from_viewer.keys.insert(key);
    else if (from_viewer.keys.erase(key) == 0)
      return;
    input_.key(*key, down);
  }

  // VNC says where the pointer is; a PS/2 mouse says how far it moved.
  void on_pointer(Viewer& from_viewer, int buttons, int x, int y) {
    constexpr int kWheelUp = 8, kWheelDown = 16;
    const int pressed = buttons & ~from_viewer.buttons;
    const int wheel = (pressed & kWheelDown ? 1 : 0) - (pressed & kWheelUp ? 1 : 0);
    const bool known = from_viewer.x >= 0;
    input_.move_mouse(known ? x - from_viewer.x : 0, known ? from_viewer.y - y : 0, wheel,
                      static_cast<u8>((buttons & 1) | (buttons & 4) >> 1 | (buttons & 2) << 1));
    from_viewer.x = x;
    from_viewer.y = y;
    from_viewer.buttons = buttons;
  }

  const Display& display_;
  HostInput& input_;
  std::string password_;
  char* passwords_[2] = {};
  ListeningSocket socket_;
  int wake_ = -1;
  devices::vga::Surface surface_;
  rfbScreenInfoPtr screen_ = nullptr;
  int viewers_ = 0;
  Time::time_point next_frame_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

VncServer::VncServer(const VncConfig& config, const Display& display, HostInput& input)
    : impl_(std::make_unique<Impl>(config, display, input)) {}

VncServer::~VncServer() = default;

}  // namespace doppel::machine
