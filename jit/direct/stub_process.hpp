// A process in which guest user code runs on the host's own processor. Its address space is empty but for
// guest RAM, mapped where the guest's page tables say, and the gate: two pages of ours with the code that
// maps it. It is traced (ptrace(2)): every system call, fault and signal stops it before anything happens and
// is told to the caller, so guest code can do nothing but compute. A seccomp filter allows it to map and
// unmap memory and nothing else, should tracing fail. Called by the vCPU's thread; the process ends with
// Doppel. It knows no guest state but the registers in the host's format.
#pragma once

#include <sys/user.h>

#include <span>
#include <vector>

#include "core/types.hpp"

namespace doppel::jit::direct {

class StubProcess {
 public:
  // One past the highest address that user code can use: 4-level paging, the last page kept free.
  static constexpr u64 kAddressEnd = (u64{1} << 47) - 4096;
  static constexpr u64 kGateSize = 5 * 4096;  // code, then a page list of changes

  // Descriptors of what it may map.
  struct Files {
    int ram, patched, relocated;
  };
  // `gate` is the page-aligned address of the gate. Throws std::system_error where the host does not allow
  // it.
  StubProcess(const Files& files, u64 gate);
  StubProcess(const StubProcess&) = delete;
  StubProcess& operator=(const StubProcess&) = delete;
  ~StubProcess();

  // A change of the address space: what `size` bytes at `address` show.
  enum class Show : u8 { kNothing, kRam, kPatched, kRelocated };
  struct Change {
    u64 address, size;
    Show show;
    u64 offset;      // in the file
    int protection;  // PROT_READ ...
  };
  // False: the host refused one (out of mappings or memory); what is mapped is unknown then.
  [[nodiscard]] bool apply(std::span<const Change> changes);

  struct Stop {
    enum class Reason {
      kSystemCall,   // registers as before the instruction, but for RCX and R11 after SYSCALL
      kFault,        // of the host's paging, or a general protection exception
      kException,    // any other exception that leaves RIP at the instruction, or registers that the host
                     // refuses
      kTrap,         // a breakpoint instruction: RIP is behind it
      kStepped,      // a debug exception, by the trap flag: RIP is behind the instruction
      kInterrupted,  // interrupt(), or a signal that means nothing
    };
    Reason reason;
    u64 address;  // kFault: the linear address, 0 if there is none
  };
  // Runs from `registers` until something stops it. Throws std::runtime_error if the process is gone.
  [[nodiscard]] Stop resume();
  // The same for one instruction, kStepped behind it; for tests.
  [[nodiscard]] Stop step();
  // Stops resume(), or the next one if none is under way. Any thread.
  void interrupt() const;

  // As of the last stop; changes count when it goes on.
  user_regs_struct registers{};
  // The floating-point and vector state: an XSAVE image in the standard format, of a size that does not
  // change.
  void read_vectors(std::vector<u8>& image) const;
  [[nodiscard]] bool write_vectors(std::vector<u8>& image);

  [[nodiscard]] u64 gate() const { return gate_; }
  // Whether RDTSC faults there; some hosts allow to ask for it and do nothing.
  [[nodiscard]] bool hides_time() const { return hides_time_; }
  // What user code of the host begins with: its segment selectors.
  [[nodiscard]] const user_regs_struct& initial() const { return initial_; }

 private:
  void start(const Files& files);
  void prepare();
  [[nodiscard]] u64 system_call(long number, u64 a1, u64 a2, u64 a3 = 0, u64 a4 = 0, u64 a5 = 0, u64 a6 = 0);
  // False: it faulted.
  [[nodiscard]] bool run_gate(u64 rip, u64 list, const user_regs_struct& arguments);
  [[nodiscard]] Stop go_on(bool one_instruction);
  [[nodiscard]] int wait() const;
  [[noreturn]] void gone(const char* what) const;
  void kill();

  // One system call for the gate's loop.
  struct Call {
    u64 number, argument[6];
  };
  static constexpr u64 kEndOfCalls = ~u64{0};

  u64 gate_;
  user_regs_struct initial_{};
  int pid_ = -1;
  bool interrupted_ = false, hides_time_ = false;
  // Entries of the gate's code.
  u64 single_call_ = 0, call_list_ = 0, read_time_ = 0;
  std::span<Call> calls_;  // the gate's list, as we see it
};

}  // namespace doppel::jit::direct
