// The page walk as a function of paging mode, CR3 and physical memory: no paging, 32-bit, PAE, 4- and
// 5-level. Returns where the page lies and what may be done with it, or the fault the access raises. It keeps
// no state; accessed and dirty bits are set in guest memory, atomically, as the walk succeeds. Source: Intel
// SDM Vol. 3A, chapter "Paging".
#pragma once

#include <array>

#include "core/cpu_state.hpp"
#include "core/types.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::mmu {

enum class Access : u8 { kRead, kWrite, kExecute };

// Who asks: decides U/S, SMEP and SMAP checks.
enum class Privilege : u8 {
  kUser,                 // CPL 3
  kSupervisor,           // CPL < 3 or an implicit access, SMAP enforced if CR4.SMAP
  kSupervisorUserPages,  // explicit supervisor access with EFLAGS.AC = 1 or CR4.SMAP = 0: user pages may be
                         // read and written
};

struct Translation {
  u64 physical = 0;      // of the 4 KiB page that holds the address (A20 not applied)
  u64 page_size = 4096;  // 4 KiB, 2 MiB, 4 MiB, 1 GiB; without paging 4 KiB
  bool global = false;
  bool dirty = false;  // the leaf's dirty bit is set now: writes need no further walk
  // What this privilege may do with the page (writes regardless of `dirty`).
  bool readable = false, writable = false, executable = false;
};

struct WalkResult {
  Translation translation;
  bool ok = false;
  u32 error = 0;  // page-fault error code when not ok
};

// Walks for the linear address `la` (already canonical). Sets A, and D for writes, when the access is
// allowed.
[[nodiscard]] WalkResult walk(const core::CpuState& state, PhysicalMemory& memory, u64 la, Access access,
                              Privilege privilege);

// What code at CPL 3 may do with one 4 KiB page, without any bit to be set in the page tables: pages whose
// accessed bit is clear are left out.
struct UserPage {
  u64 physical = 0;  // A20 not applied
  bool present = false, writable = false, executable = false;
  bool dirty = false;  // its dirty bit is set
};
inline constexpr u64 kUserRegionSize = u64{2} << 20;
using UserRegion = std::array<UserPage, kUserRegionSize / core::kPageSize>;

// The pages of the 2 MiB around `la`, as the page tables have them now; nothing is set there. None
// outside long mode.
[[nodiscard]] UserRegion walk_user_region(const core::CpuState& state, PhysicalMemory& memory, u64 la);

// PAE: loads the four PDPTEs from CR3. False (nothing changed): a reserved bit is set, MOV CR3 raises #GP(0).
[[nodiscard]] bool load_pdptes(core::CpuState& state, PhysicalMemory& memory, u64 cr3);

// Number of significant linear-address bits (48, or 57 with CR4.LA57), and whether `la` is canonical for the
// mode.
[[nodiscard]] inline bool canonical(const core::CpuState& state, u64 la) {
  const u32 shift = state.cr4 & core::kCr4La57 ? 7 : 16;
  return static_cast<u64>(static_cast<i64>(la << shift) >> shift) == la;
}

inline constexpr u32 kPhysicalBits = 40;  // MAXPHYADDR, also in CPUID 80000008H

}  // namespace doppel::mmu
