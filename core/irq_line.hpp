// One interrupt wire from a device to whatever listens at its other end. Level semantics: raising a raised
// line does nothing. The device holds the line by value and knows no interrupt controller.
#pragma once

#include <functional>
#include <utility>

namespace doppel::core {

class IrqLine {
 public:
  IrqLine() = default;
  explicit IrqLine(std::function<void(bool)> sink) : sink_(std::move(sink)) {}

  // Sets the wire high (true) or low; the sink is called only on a change.
  void set(bool level) {
    if (level == level_) return;
    level_ = level;
    if (sink_) sink_(level);
  }
  // Low, high, low: one edge.
  void pulse() {
    set(false);
    set(true);
    set(false);
  }
  [[nodiscard]] bool level() const { return level_; }

 private:
  std::function<void(bool)> sink_;
  bool level_ = false;
};

}  // namespace doppel::core
