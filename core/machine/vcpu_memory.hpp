// Where a vCPU lives: at the top of the stack that translated code runs on, so that the stack pointer doubles
// as the pointer to its state. A guard page below the stack turns an overflow into a crash instead of silent
// damage.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "jit/vcpu.hpp"

namespace doppel::machine {

class VcpuMemory {
 public:
  // Arguments are those of jit::Vcpu's constructor. Throws std::system_error.
  template <class... Args>
  explicit VcpuMemory(Args&&... args) {
    mapping_ =
        ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "memory for a vCPU");
    ::mprotect(mapping_, kGuard, PROT_NONE);
    cpu_ = new (static_cast<char*>(mapping_) + kGuard + kStack) jit::Vcpu(std::forward<Args>(args)...);
  }
  VcpuMemory(const VcpuMemory&) = delete;
  VcpuMemory& operator=(const VcpuMemory&) = delete;
  ~VcpuMemory() {
    cpu_->~Vcpu();
    ::munmap(mapping_, kSize);
  }

  [[nodiscard]] jit::Vcpu& operator*() const { return *cpu_; }

 private:
  static constexpr std::size_t kGuard = 4096, kStack = std::size_t{512} << 10,
                               kSize = kGuard + kStack + sizeof(jit::Vcpu);
  static_assert(kStack % alignof(jit::Vcpu) == 0, "the vCPU is aligned where the stack ends");

  void* mapping_;
  jit::Vcpu* cpu_;
};

}  // namespace doppel::machine
