// Writes a line for every block that the dispatcher enters: `--trace-blocks`. A Backend around another one
// (or around none, for the interpreter), which must return from run() after every block.
#pragma once

#include <cstdio>
#include <memory>

#include "jit/backend.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit {

class Tracer final : public Backend {
 public:
  // `out` stays open; may be stderr.
  Tracer(const Vcpu& cpu, std::unique_ptr<Backend> inner, std::FILE* out)
      : cpu_(cpu), inner_(std::move(inner)), out_(out) {}
  ~Tracer() override { std::fflush(out_); }

  [[nodiscard]] bool ready(Block& block) override;
  void run(Block& block) override { inner_->run(block); }
  void stepping(const Block& block) override { write(block, 1, "step"); }
  void forget(Block& block) override;
  void forget_page(u64 linear_page) override;
  void clear() override;
  void publish_counters() override;
  [[nodiscard]] std::string listing(const Block& block) const override;

 private:
  void write(const Block& block, u32 instructions, const char* engine);

  const Vcpu& cpu_;
  std::unique_ptr<Backend> inner_;
  std::FILE* out_;
};

}  // namespace doppel::jit
