#!/bin/bash
# Makes the benchmark's system from Debian packages and bench/workloads, once for all engines:
#   make_image.sh DIRECTORY   ->  DIRECTORY/root            the tree, for native runs
#                                 DIRECTORY/initramfs.cpio  the same, for guests
#                                 DIRECTORY/boot.cpio       only its /init, which says "ready"
# Packages are kept in DIRECTORY/packages. Nothing is done when all is newer than what it is made from. Needs no root.
set -euo pipefail

readonly here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
readonly out=$(cd "$1" && pwd)
readonly root=$out/root sdk=$out/sdk

# What the workloads run; their dependencies follow.
readonly packages=(dash coreutils gzip zstd xz-utils sqlite3 python3 luajit openssl)
# What those name but no workload needs: package management, data of countries and file types.
readonly unwanted='^(dpkg|tar|install-info|perl.*|libperl.*|debconf.*|cdebconf|mailcap|libgdbm.*|gcc-.*-base|media-types|mime-support|tzdata|readline-common|.*:i386)$'

source "$here/../tests/guests/debian_tree.sh"

make_tree() {
  mkdir -p "$out/packages"
  rm -rf "$sdk"
  mkdir "$sdk"
  make_root "$root" "$out/packages" "$unwanted" "${packages[@]}"
  mkdir "$root/bench"
  unpack "$out/packages" libssl-dev "$sdk"
  ln -sf dash "$root/bin/sh"
  rm -rf "$root"/usr/lib/python3*/{distutils,unittest} "$root"/var
}

compile() { cc -std=gnu11 -O2 -Wall -Wextra -Werror "$here/workloads/$1.c" -o "$root/bench/$1" "${@:2}"; }

make_workloads() {
  local program
  for program in driver integer calls floating memory system; do compile "$program" -static -lm; done
  compile crypto -isystem "$sdk/usr/include" -isystem "$sdk"/usr/include/*-linux-gnu "$root"/usr/lib/*/libcrypto.so.3
  cp "$here"/workloads/*.{py,lua,sql,txt} "$root/bench/"
  ln -sf bench/driver "$root/init"
}

# Text and machine code by turns, as on a disk.
make_corpus() {
  local i
  find "$root"/usr/lib/python3* -name '*.py' | LC_ALL=C sort | xargs cat > "$out/text"
  find "$root"/usr/lib -name '*.so.*' -type f | LC_ALL=C sort | xargs cat > "$out/code"
  for ((i = 0; i < 16; i++)); do
    dd status=none bs=512K count=1 skip=$i if="$out/text"
    dd status=none bs=512K count=1 skip=$i if="$out/code"
  done > "$root/bench/corpus"
  rm "$out/text" "$out/code"
}

newer_than_sources() { [[ -s $1 && -z $(find "$here/workloads" "$here/make_image.sh" "$here/../tests/guests/debian_tree.sh" -newer "$1") ]]; }

main() {
  newer_than_sources "$out/boot.cpio" && return
  local boot
  make_tree
  make_workloads
  make_corpus
  in_tree "$root" /bin/openssl genrsa -out /bench/key.pem 2048 2> /dev/null
  in_tree "$root" /bin/python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.*
  pack "$root" > "$out/initramfs.cpio"
  boot=$(mktemp -d "$out/boot.XXXXXX")
  cp "$root/bench/driver" "$boot/init"
  mkdir "$boot"/{dev,proc,tmp}
  pack "$boot" > "$out/boot.cpio"
  rm -rf "$boot"
  say "$(stat -c %s "$out/initramfs.cpio") bytes, $(find "$out/packages" -name '*.deb' | wc -l) packages"
}

main
