#include "core/machine/host_input.hpp"

#include <boost/asio/post.hpp>
#include <chrono>
#include <ranges>
#include <vector>

namespace doppel::machine {

namespace {

constexpr std::size_t kMostSteps = 16384;
constexpr auto kRetry = std::chrono::milliseconds(2);    // until a full keyboard buffer is looked at again
constexpr auto kTyping = std::chrono::milliseconds(10);  // between typed keys: a BIOS keeps 15

}  // namespace

HostInput::HostInput(boost::asio::io_context& events, std::recursive_mutex& device_lock,
                     devices::I8042& controller)
    : events_(events), device_lock_(device_lock), controller_(controller), timer_(events) {}

bool HostInput::key(const devices::Key& key, bool down) {
  const Step step{down ? devices::press(key) : devices::release(key), false};
  return append({&step, 1});
}

bool HostInput::chord(std::span<const devices::Key* const> keys) {
  std::vector<Step> steps;
  for (const auto* key : keys) steps.push_back({devices::press(*key), false});
  for (const auto* key : keys | std::views::reverse) steps.push_back({devices::release(*key), false});
  if (!steps.empty()) steps.back().pause = true;
  return append(steps);
}

bool HostInput::type(std::string_view text) {
  std::vector<Step> steps;
  const devices::Key& shift_key = *devices::key_by_name("shift");
  for (const char character : text) {
    bool shift = false;
    const auto* key = devices::key_for_character(character, shift);
    if (!key) continue;
    if (shift) steps.push_back({devices::press(shift_key), false});
    steps.push_back({devices::press(*key), false});
    steps.push_back({devices::release(*key), !shift});
    if (shift) steps.push_back({devices::release(shift_key), true});
  }
  return append(steps);
}

void HostInput::move_mouse(int dx, int dy, int wheel, u8 buttons) {
  std::lock_guard guard(device_lock_);
  controller_.move_mouse(dx, dy, wheel, buttons);
}

std::size_t HostInput::waiting() const {
  std::lock_guard guard(mutex_);
  return steps_.size();
}

bool HostInput::append(std::span<const Step> steps) {
  std::lock_guard guard(mutex_);
  if (steps.size() > kMostSteps - steps_.size()) return false;
  steps_.insert(steps_.end(), steps.begin(), steps.end());
  if (!pumping_ && !steps_.empty()) {
    pumping_ = true;
    boost::asio::post(events_, [this] { pump(); });
  }
  return true;
}

void HostInput::pump() {
  auto wait = kRetry;
  {
    std::scoped_lock guard(device_lock_, mutex_);
    while (!steps_.empty()) {
      const Step& step = steps_.front();
      if (!step.codes.empty() && !controller_.key({step.codes.data(), step.codes.size()})) break;
      const bool pause = step.pause;
      steps_.pop_front();
      if (!pause) continue;
      wait = kTyping;
      break;
    }
    pumping_ = !steps_.empty();
    if (!pumping_) return;
  }
  timer_.expires_after(wait);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) pump();
  });
}

}  // namespace doppel::machine
