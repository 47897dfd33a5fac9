#include "jit/direct/code_frames.hpp"

#include <cpuid.h>

#include <algorithm>

#include "jit/direct/code_scan.hpp"

namespace doppel::jit::direct {

using core::kPageSize;

namespace {

bool host_has_umip() {
  constexpr u32 kUmip = 1u << 2;  // CPUID 7, ECX
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & kUmip);
}

}  // namespace

CodeFrames::CodeFrames(Vcpu& cpu, BlockCache& blocks)
    : cpu_(cpu),
      blocks_(blocks),
      decoder_(cpu.model, 64, cpu.counters),
      kinds_(cpu.mmu.memory().ram().size() / kPageSize, Kind::kUnknown) {
  host_.tables = host_has_umip();
}

CodeFrames::Kind& CodeFrames::at(u64 physical) {
  return kinds_[cpu_.mmu.memory().ram().offset_of(physical) / kPageSize];
}

CodeFrames::Kind CodeFrames::kind(u64 physical) const {
  const u64 offset = cpu_.mmu.memory().ram().offset_of(physical);
  return offset == ~u64{0} ? Kind::kNever : kinds_[offset / kPageSize];
}

CodeFrames::Kind CodeFrames::examine(u64 physical) {
  const u64 page = physical & core::kPageMask;
  if (kind(page) == Kind::kUnknown) {
    blocks_.watch(page);  // before the bytes are read
    at(page) = look(page);
  }
  return kind(page);
}

CodeFrames::Kind CodeFrames::look(u64 page) {
  const std::span<const u8, kPageSize> bytes(cpu_.mmu.memory().ram().host(page), kPageSize);
  const auto sensitive = sensitive_instructions(bytes, decoder_, host_);
  if (!sensitive || refuse_all_) return Kind::kNever;
  if (sensitive->empty()) return Kind::kPlain;
  return patched_.add(page, bytes, *sensitive) ? Kind::kPatched : Kind::kNever;
}

std::optional<u64> CodeFrames::physical_of(const u8* host) const {
  const auto& ram = cpu_.mmu.memory().ram();
  const u64 offset = reinterpret_cast<u64>(host) - reinterpret_cast<u64>(ram.host(0));  // small for RAM only
  return offset < ram.size() ? std::optional(ram.physical_of(offset)) : std::nullopt;
}

void CodeFrames::forget(u64 physical) {
  patched_.remove(physical & core::kPageMask);
  at(physical) = Kind::kUnknown;
}

void CodeFrames::forget_all() {
  patched_.clear();
  std::fill(kinds_.begin(), kinds_.end(), Kind::kUnknown);
}

}  // namespace doppel::jit::direct
