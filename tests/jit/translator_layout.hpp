// Where everything lies in the machine that runs the translator's random programs: linear addresses of a
// program's code, data and stack, and the physical addresses behind them. translator_kernel.S has the same
// numbers.
#pragma once

#include "core/guest_ram.hpp"
#include "core/types.hpp"

namespace doppel::tests::translator {

using core::kPageSize;

// --- Linear. One page table maps a program; it is reachable a second time kAlias above (other entries for
// the same physical pages) and a third time 4 GiB above (the same entries).
inline constexpr u64 kCode = 0x40'0000;
inline constexpr u32 kCodePages = 8, kOverlayPage = 7;  // the last page differs in the two address spaces
inline constexpr u64 kOverlay = kCode + kOverlayPage * kPageSize;
inline constexpr u64 kData = 0x42'0000;
inline constexpr u32 kDataPages = 10;
inline constexpr u64 kFuel =
    kData + 9 * kPageSize;  // a counter that ends backward jumps; the page has nothing else
inline constexpr u64 kStack = 0x44'0000;
inline constexpr u32 kStackPages = 4;
inline constexpr u64 kStackTop = kStack + 2 * kPageSize;  // at the start
inline constexpr u64 kAlias = 0x10'0000, kFourGiB = u64{1} << 32;
inline constexpr u64 kKernel = 0xffff'8000'0000'0000;

// 16-bit programs see their code, data and stack at 0 of segments. Selectors as in the GDT; the kernel knows
// the first.
inline constexpr u16 kCs16 = 0x5b, kCs32 = 0x53, kDs16 = 0x63, kSs16 = 0x6b, kCodeData16 = 0x73;

// --- Physical.
inline constexpr u64 kGdt = 0x1000, kTss = 0x2000, kIdt = 0x3000;
inline constexpr u64 kSpaceA = 0x1'0000,
                     kSpaceB = 0x1'4000;  // PML4, PDPT, page directory, page table, a page each
inline constexpr u64 kKernelPdpt = 0x1'8000, kKernelDirectory = 0x1'9000;
inline constexpr u64 kKernelCode = 0x2'0000;
inline constexpr u64 kTrapStack = 0x3'1000, kInterruptStack = 0x3'2000;  // their tops
inline constexpr u64 kLog = 0x4'0000, kVariables = 0x5'0000, kLengths = 0x6'0000;
inline constexpr u64 kProgram = 0x10'0000;  // code, the other overlay, data, stack
inline constexpr u64 kProgramData = kProgram + (kCodePages + 1) * kPageSize;
inline constexpr u64 kProgramStack = kProgramData + kDataPages * kPageSize;
inline constexpr u64 kProgramEnd = kProgramStack + kStackPages * kPageSize;
inline constexpr u64 kRamSize = 0x20'0000;

// --- Page-table entries.
inline constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kLargePage = 1 << 7;
inline constexpr u64 kLazy = 0x200;         // software: the kernel makes it present
inline constexpr u64 kCopyOnWrite = 0x400;  // software: the kernel makes it writable

// --- Vectors with a meaning of their own.
inline constexpr u8 kInterruptVector = 0x20, kServiceVector = 0x30, kExitVector = 0x31;

// What the kernel writes for each exception.
inline constexpr u32 kMaxRecords = 96;
struct Record {
  u64 vector, error, cr2, rip, rflags, rsp, cr0, cr3;
  u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  u64 unused;
};
static_assert(sizeof(Record) == 192);

}  // namespace doppel::tests::translator
