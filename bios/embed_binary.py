"""Writes a binary file as a C++ array: embed_binary.py INPUT OUTPUT NAMESPACE NAME."""

import sys

binary, source, namespace, name = sys.argv[1:]
with open(binary, "rb") as f:
    data = f.read()
with open(source, "w", encoding="ascii") as f:
    f.write(f"#include <cstddef>\nnamespace {namespace} {{\n")
    f.write(f"extern const unsigned char {name}[];\nextern const std::size_t {name}Size;\n")
    f.write(f"const unsigned char {name}[] = {{{','.join(map(str, data))}}};\n")
    f.write(f"const std::size_t {name}Size = {len(data)};\n}}\n")
