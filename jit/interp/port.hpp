// Port input and output; the permission check that the string forms share.
// Source: Intel SDM Vol. 1, "I/O Port Protection"; AMD APM Vol. 2, "I/O-Permission Bitmap".
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// Whether the running code may access `width` ports from `port`; raises #GP(0) if not.
[[nodiscard]] bool port_permitted(Vcpu& cpu, u16 port, u32 width);

}  // namespace doppel::interp
