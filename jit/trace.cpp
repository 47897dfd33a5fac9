#include "jit/trace.hpp"

#include <fmt/format.h>

namespace doppel::jit {

void Tracer::write(const Block& block, u32 instructions, const char* engine) {
  fmt::print(out_, "{:016x} {:>2} ring{} {:>2} {}\n", cpu_.state.rip, block.code_bits, cpu_.state.cpl,
             instructions, engine);
}

bool Tracer::ready(Block& block) {
  const bool translated = inner_ && inner_->ready(block);
  write(block, block.count, translated ? "jit" : "interp");
  return translated;
}

void Tracer::forget_page(u64 linear_page) {
  if (inner_) inner_->forget_page(linear_page);
}

void Tracer::forget(Block& block) {
  if (inner_) inner_->forget(block);
}
void Tracer::clear() {
  if (inner_) inner_->clear();
}
void Tracer::publish_counters() {
  if (inner_) inner_->publish_counters();
}
std::string Tracer::listing(const Block& block) const {
  return inner_ ? inner_->listing(block) : "";
}

}  // namespace doppel::jit
