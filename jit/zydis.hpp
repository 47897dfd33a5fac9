// The one file that includes Zydis: instruction facts (mnemonics, operands, flags) come from here.
#pragma once

#include <Zydis/Zydis.h>
