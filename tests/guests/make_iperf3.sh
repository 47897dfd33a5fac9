#!/bin/bash
# Makes Debian's iperf3 with its libraries, to be appended to an initramfs:
#   make_iperf3.sh DIRECTORY   ->  DIRECTORY/iperf3.cpio
# Does nothing when it is there and newer than this script. Needs no root.
set -euo pipefail

readonly here=$(cd "$(dirname "$0")" && pwd)
source "$here/debian_tree.sh"

mkdir -p "$1/pc-packages"
readonly out=$(cd "$1" && pwd)
[[ -s $out/iperf3.cpio && -z $(find "$here"/{make_iperf3,debian_tree}.sh -newer "$out/iperf3.cpio") ]] && exit

tree=$(mktemp -d "$out/iperf3.XXXXXX")
trap 'rm -rf "$tree"' EXIT
make_root "$tree/root" "$out/pc-packages" '^(debconf.*|cdebconf|dpkg|tar|install-info|.*:i386)$' iperf3
readonly program=/usr/bin/iperf3 loader=/lib64/ld-linux-x86-64.so.2
mkdir -p "$tree/pack/bin" "$tree"/pack/{lib64,lib}
cp -L "$tree/root$program" "$tree/pack/bin"
cp -L "$tree/root$loader" "$tree/pack/lib64"
in_tree "$tree/root" "$loader" --list "$program" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' |
  while read -r library; do cp -L "$tree/root$library" "$tree/pack/lib"; done
pack "$tree/pack" > "$out/iperf3.new"
mv "$out/iperf3.new" "$out/iperf3.cpio"
say "$(stat -c %s "$out/iperf3.cpio") bytes"
