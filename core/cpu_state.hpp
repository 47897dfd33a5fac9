// All architectural state of one virtual CPU, and the few fields that translated code reaches beside it
// (soft-TLB pointer, attention flag). One struct, standard layout, found by offsetof only: the interpreter,
// the translator, snapshots and the debugger share it. It knows no other part of the program. Sources: Intel
// SDM Vol. 1 ch. 3, Vol. 3A ch. 2; AMD APM Vol. 2 ch. 3.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <limits>

#include "core/fault.hpp"
#include "core/types.hpp"

namespace doppel::mmu {
struct TlbEntry;
}

namespace doppel::core {

static_assert(std::endian::native == std::endian::little,
              "guest registers are accessed as bytes of host words");

enum Gpr : u8 {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
  kGprZero = 16,  // always 0: "no base" or "no index" in an address
  kGprRip = 17,   // RIP of the running block's first byte: the base of RIP-relative addresses
  kGprSlots = 18,
};

enum Segment : u8 { kEs, kCs, kSs, kDs, kFs, kGs, kSegmentCount };

// RFLAGS (SDM Vol. 1, "EFLAGS Register").
inline constexpr u64 kCf = 1u << 0, kPf = 1u << 2, kAf = 1u << 4, kZf = 1u << 6, kSf = 1u << 7, kTf = 1u << 8,
                     kIf = 1u << 9, kDf = 1u << 10, kOf = 1u << 11, kIopl = 3u << 12, kNt = 1u << 14,
                     kRf = 1u << 16, kVm = 1u << 17, kAc = 1u << 18, kVif = 1u << 19, kVip = 1u << 20,
                     kId = 1u << 21;
inline constexpr u64 kFlagsFixed = 1u << 1;                                 // reads as one
inline constexpr u64 kArithmeticFlags = kCf | kPf | kAf | kZf | kSf | kOf;  // the six that ALU operations set

// CR0, CR4, EFER.
inline constexpr u64 kCr0Pe = 1u << 0, kCr0Mp = 1u << 1, kCr0Em = 1u << 2, kCr0Ts = 1u << 3, kCr0Et = 1u << 4,
                     kCr0Ne = 1u << 5, kCr0Wp = 1u << 16, kCr0Am = 1u << 18, kCr0Nw = 1u << 29,
                     kCr0Cd = 1u << 30, kCr0Pg = 1u << 31;
inline constexpr u64 kCr4Vme = 1u << 0, kCr4Pvi = 1u << 1, kCr4Tsd = 1u << 2, kCr4De = 1u << 3,
                     kCr4Pse = 1u << 4, kCr4Pae = 1u << 5, kCr4Mce = 1u << 6, kCr4Pge = 1u << 7,
                     kCr4Pce = 1u << 8, kCr4Osfxsr = 1u << 9, kCr4Osxmmexcpt = 1u << 10, kCr4Umip = 1u << 11,
                     kCr4La57 = 1u << 12, kCr4Fsgsbase = 1u << 16, kCr4Pcide = 1u << 17,
                     kCr4Osxsave = 1u << 18, kCr4Smep = 1u << 20, kCr4Smap = 1u << 21;
inline constexpr u64 kEferSce = 1u << 0, kEferLme = 1u << 8, kEferLma = 1u << 10, kEferNxe = 1u << 11,
                     kEferFfxsr = 1u << 14, kEferAibrse = 1u << 21;

// Descriptor attributes as SegmentRegister::attributes holds them: bits 40-47 and 52-55 of the descriptor,
// in the layout of the high dword's bits 8-15 and 20-23 shifted right by 8.
inline constexpr u32 kSegTypeMask = 0xf, kSegAccessed = 1u << 0, kSegWritable = 1u << 1 /* data */,
                     kSegReadable = 1u << 1 /* code */, kSegExpandDown = 1u << 2 /* data */,
                     kSegConforming = 1u << 2 /* code */, kSegCode = 1u << 3,
                     kSegS = 1u << 4 /* not a system segment */, kSegDplShift = 5, kSegPresent = 1u << 7,
                     kSegAvl = 1u << 12, kSegL = 1u << 13, kSegDb = 1u << 14, kSegG = 1u << 15;

struct SegmentRegister {
  u64 base = 0;
  u32 limit = 0;  // in bytes, granularity applied: the last valid offset
  u16 selector = 0;
  u16 attributes = 0;  // kSeg*; 0 (not present) for a null selector
};

struct DescriptorTable {
  u64 base = 0;
  u16 limit = 0;
};

// Arithmetic flags in the form that is cheap to produce: most are never read.
//   ZF = result == 0          SF = bit 63 of result XOR bit 0 of aux
//   CF = bit 63 of aux        OF = bit 63 XOR bit 62 of aux
//   AF = bit 3 of aux         PF = even parity of (low byte of result XOR bits 8-15 of aux)
// `result` is sign-extended to 64 bits; `aux` carries out of bits 3, w-2 and w-1 of a w-bit operation.
// All other bits of aux are zero after an arithmetic operation; SF and PF corrections serve POPF and the
// like.
struct LazyFlags {
  u64 result = 1;
  u64 aux = 0;
};

struct alignas(32) VectorRegister {
  u64 q[4] = {};  // q[0], q[1]: XMM; q[2], q[3]: the upper half of YMM
};

// One x87 register, 80-bit extended format.
struct X87Register {
  u64 significand = 0;    // also the MMX register
  u16 sign_exponent = 0;  // sign in bit 15
};

struct X87State {
  std::array<X87Register, 8> physical{};  // R0..R7; ST(i) is physical[(top + i) & 7]
  u16 control = 0x37f;
  u16 status = 0;  // all of FSW but TOP (bits 11-13), which is `top`
  u8 top = 0;
  u8 valid = 0;                   // bit i: physical register i is not empty (the FXSAVE tag format)
  u16 opcode = 0;                 // FOP, 11 bits
  u64 instruction = 0, data = 0;  // FIP, FDP
  u16 instruction_segment = 0, data_segment = 0;
};

// Why a vCPU must look up from running guest code. Set by any thread with CpuState::notify.
enum Pending : u32 {
  kPendingIntr = 1u << 0,  // the interrupt controller has a vector to deliver
  kPendingNmi = 1u << 1,
  kPendingInit = 1u << 2,
  kPendingSipi = 1u << 3,
  kPendingStop = 1u << 4,  // leave the run loop (pause, quit, reset)
  kPendingSmi = 1u << 5,
  kPendingCoherence = 1u << 6,  // another processor asks for something (jit/coherence.hpp)
  kPendingExclusive = 1u << 7,  // the instruction at RIP is to run while no other processor does
  kPendingYield = 1u << 8,      // the guest spins: let others have the host's processor
  kPendingRoom = 1u << 9,       // the memory for code is full
};

// What the CPU does when it does not run instructions.
enum class Activity : u8 { kRunning, kHalted, kWaitForSipi, kShutdown };

// What translated code keeps beside the architectural state.
struct TranslatorState {
  u64 flags = 0;           // arithmetic flags as SETO AL; LAHF leave them in AX
  u64 code_page = 0;       // linear page of the running code: RIP is this plus an offset known at translation
  u64 context = 0;         // what a jump-cache entry must match besides RIP,
  u64 global_context = 0;  // or this, if its translation is the same in every address space
  void* jump_cache = nullptr;
  void* far_links = nullptr;  // by number of the jump
  void* owner = nullptr;      // the translator, for its callbacks
  u64 effective_address = 0;  // spilled by addresses that take more than one instruction
  u64 pushed = 0;             // spilled by PUSH of memory
  u64 host_rsp = 0;
  u64 link_site = 0;  // the chainable jump through which translated code was left, or 0
  u32 host_mxcsr = 0x1f80;
  u32 usable = 0;            // register sets that guest code may use without a fault
  u32 x87_resident = 0;      // the guest's x87 state is in the host's FPU, CpuState::x87 is stale
  u32 vectors_resident = 0;  // the same of CpuState::vec; bit 1: AVX instructions are allowed too
  // Returns to CPL 3 that stay in translated code; then the dispatcher decides how user code runs.
  i64 user_entries_left = std::numeric_limits<i64>::max();
  u32 access = 0;  // of the soft-TLB miss in progress: size, bit 8 set for a write
  static constexpr u32 kShares = 16;
  std::array<u64, kShares> shared_addends{};         // of soft-TLB entries that a block has checked
  static constexpr u64 kNoStackPage = u64{1} << 63;  // no canonical address is near it
  u64 stack_page = kNoStackPage;  // a page that RSP was seen on, which may be read and written,
  u64 stack_addend = 0;           // and host minus linear address there; dropped whenever C++ code ran
};

struct CpuState {
  // --- Cache lines 0-2: what nearly every instruction touches.
  std::array<u64, kGprSlots> gpr{};
  LazyFlags lazy;                 // the six arithmetic flags
  u64 rip = 0;                    // of the next instruction when not inside a block
  u64 rflags = kFlagsFixed;       // everything but the six arithmetic flags, which are zero here
  std::atomic<u32> attention{0};  // nonzero: leave translated code at the next block boundary
  std::atomic<u32> pending{0};    // Pending bits
  mmu::TlbEntry* tlb = nullptr;   // the active soft-TLB array (depends on CPL, AC and SMAP)
  TranslatorState translator;
  u8 cpl = 0;
  u8 code_bits = 16;              // 16, 32 or 64: default operand/address size of CS
  bool interrupt_shadow = false;  // STI, MOV SS, POP SS: no interrupt before the next instruction ends
  bool nmi_blocked = false;
  Activity activity = Activity::kRunning;

  // --- Segments and system registers.
  std::array<SegmentRegister, kSegmentCount> segment{};
  SegmentRegister ldtr, tr;
  DescriptorTable gdtr, idtr;
  u64 cr0 = kCr0Et, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  u64 xcr0 = 1;
  u64 efer = 0;
  std::array<u64, 4> pdpte{};  // PAE paging: loaded with CR3 (SDM Vol. 3A, "PDPTE Registers")
  std::array<u64, 8> dr{};     // DR4, DR5 unused; DR6 = 0xffff0ff0, DR7 = 0x400 after reset
  u64 star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0, tsc_aux = 0;
  u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  u64 pat = 0x0007040600070406;
  u64 mtrr_def_type = 0;
  std::array<u64, 11> mtrr_fixed{};
  std::array<u64, 16> mtrr_variable{};  // base 0, mask 0, base 1, mask 1, ...
  u64 misc_enable = 0, spec_ctrl = 0, mcg_status = 0, tsc_offset = 0, tsc_adjust = 0;

  // --- Floating point and vectors.
  u32 mxcsr = 0x1f80;
  X87State x87;
  std::array<VectorRegister, 16> vec{};

  // --- The exception that is being raised; see core/fault.hpp.
  Fault fault;
  // DR6 bits (B0-B3, BS, BD) that the running instruction has earned: a #DB trap follows it.
  u64 debug_hits = 0;

  // Records a fault for the dispatcher to deliver. Always false, so that `return state.raise(...)` reads
  // well.
  bool raise(Vector vector, u32 error = 0, u64 address = 0) {
    fault = {vector, true, error, address};
    return false;
  }

  // Wakes the vCPU out of guest code at the next block boundary. Any thread.
  void notify(Pending reason) {
    pending.fetch_or(reason, std::memory_order_release);
    attention.store(1, std::memory_order_release);
  }
};

// --- Modes.
inline bool protected_mode(const CpuState& s) {
  return s.cr0 & kCr0Pe;
}
inline bool virtual_8086(const CpuState& s) {
  return s.rflags & kVm;
}
inline bool real_mode(const CpuState& s) {
  return !(s.cr0 & kCr0Pe);
}
inline bool long_mode(const CpuState& s) {
  return s.efer & kEferLma;
}  // 64-bit or compatibility
inline bool code64(const CpuState& s) {
  return s.code_bits == 64;
}
inline bool breakpoints_enabled(const CpuState& s) {
  return s.dr[7] & 0xff;  // L0, G0 ... L3, G3
}
inline u32 dpl(const SegmentRegister& s) {
  return (s.attributes >> kSegDplShift) & 3;
}

// --- Lazy flags.
inline bool cf(const LazyFlags& f) {
  return f.aux >> 63;
}
inline bool of(const LazyFlags& f) {
  return ((f.aux >> 63) ^ (f.aux >> 62)) & 1;
}
inline bool af(const LazyFlags& f) {
  return (f.aux >> 3) & 1;
}
inline bool zf(const LazyFlags& f) {
  return f.result == 0;
}
inline bool sf(const LazyFlags& f) {
  return ((f.result >> 63) ^ f.aux) & 1;
}
inline bool pf(const LazyFlags& f) {
  return (std::popcount(u32((f.result ^ (f.aux >> 8)) & 0xff)) & 1) == 0;
}

// The six arithmetic flags in their RFLAGS positions.
inline u64 arithmetic_flags(const LazyFlags& f) {
  return (cf(f) ? kCf : 0) | (pf(f) ? kPf : 0) | (af(f) ? kAf : 0) | (zf(f) ? kZf : 0) | (sf(f) ? kSf : 0) |
         (of(f) ? kOf : 0);
}

// The lazy form of the six arithmetic flags of `flags`; other bits are ignored.
inline LazyFlags lazy_flags(u64 flags) {
  LazyFlags f;
  f.result = (flags & kZf) ? 0 : 1;  // low byte 0 is even parity, 1 is odd; bit 63 is clear
  const bool parity_even = (flags & kZf) != 0;
  const bool want_even = (flags & kPf) != 0;
  const u64 carry = flags & kCf ? 1 : 0, overflow = flags & kOf ? 1 : 0;
  f.aux = (carry << 63) | ((carry ^ overflow) << 62) | (flags & kAf ? 8 : 0) | (flags & kSf ? 1 : 0) |
          (parity_even != want_even ? u64{1} << 8 : 0);
  return f;
}

inline u64 rflags(const CpuState& s) {
  return s.rflags | arithmetic_flags(s.lazy);
}
inline void set_rflags(CpuState& s, u64 value) {
  s.rflags = (value & ~kArithmeticFlags) | kFlagsFixed;
  s.lazy = lazy_flags(value);
}
inline void set_arithmetic_flags(CpuState& s, u64 value) {
  s.lazy = lazy_flags(value);
}

}  // namespace doppel::core
