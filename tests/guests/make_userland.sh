#!/bin/bash
# Makes a Debian user land with the programs of tests/guests/userland, from packages:
#   make_userland.sh DIRECTORY   ->  DIRECTORY/root            the tree, for native runs
#                                    DIRECTORY/initramfs.cpio  the same, for guests
# Packages are kept in DIRECTORY/packages. Does nothing when the initramfs is newer than what it is made from. Needs no
# root. `make_userland.sh --native DIRECTORY COMMAND...` runs a command in the tree on the host.
set -euo pipefail

readonly here=$(cd "$(dirname "$0")" && pwd)
source "$here/debian_tree.sh"

readonly packages=(dash coreutils busybox-static openssl zstd sqlite3 python3 perl gcc libc6-dev luajit nodejs)
# What those name but no check needs: package management, sanitizers, data of countries and file types.
readonly unwanted='^(dpkg|tar|install-info|debconf.*|cdebconf|gcc-.*-base|lib[alt]san.*|lib(hw|ub|tsan)asan.*|libubsan.*|libgprofng.*|mailcap|media-types|mime-support|tzdata|readline-common|.*:i386)$'

if [[ $1 == --native ]]; then
  shift
  in_tree "$(cd "$1" && pwd)/root" /usr/bin/env -i "${@:2}"
  exit
fi

mkdir -p "$1"
readonly out=$(cd "$1" && pwd)
readonly root=$out/root

[[ -s $out/initramfs.cpio &&
   -z $(find "$here"/{userland,debian_tree.sh,make_userland.sh} -newer "$out/initramfs.cpio") ]] && exit

make_root "$root" "$out/packages" "$unwanted" "${packages[@]}"
ln -sf dash "$root/bin/sh"
ln -s busybox "$root/bin/cmp"
# Link-time optimisation, static libraries of the compiler, consoles' fonts: most of the rest that is never opened.
rm -rf "$root"/usr/lib/gcc/*/*/{lto1,lto-wrapper,lto-dump,plugin,g++-mapper-server} "$root"/usr/lib/gcc/*/*/lib*san*.a \
  "$root"/usr/share/{gdb,perl5/Debconf} "$root"/var
cp -r "$here/userland" "$root/checks"
in_tree "$root" /usr/bin/openssl genrsa -out /checks/rsa_key.pem 1024 2> /dev/null
ln -s checks/init "$root/init"
pack "$root" > "$out/initramfs.new"
mv "$out/initramfs.new" "$out/initramfs.cpio"
say "$(stat -c %s "$out/initramfs.cpio") bytes, $(find "$out/packages" -name '*.deb' | wc -l) packages"
