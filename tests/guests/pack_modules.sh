#!/bin/bash
# Modules of a kernel package with what they depend on, as a busybox's depmod sees it (one that runs on this host), in a
# cpio archive to be appended to an initramfs; /NAME-modules in it lists them. Used by make_guests.sh and
# make_pc_guests.sh:
#   pack_modules.sh KERNEL.deb BUSYBOX.deb OUT.cpio NAME MODULE...
set -euo pipefail

readonly kernel=$1 busybox_deb=$2 out=$3 name=$4
shift 4
unpacked=$(mktemp -d "$(realpath "$(dirname "$out")")/modules.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb --fsys-tarfile "$kernel" | tar -x -C "$unpacked" ./lib/modules
dpkg-deb --fsys-tarfile "$busybox_deb" | tar -x -C "$unpacked" ./bin/busybox
busybox=$unpacked/bin/busybox
version=$(ls "$unpacked/lib/modules")
folder=lib/modules/$version
"$busybox" depmod -b "$unpacked" "$version"
root=$unpacked/root
mkdir -p "$root/$folder"
printf '%s\n' "$@" > "$root/$name-modules"
# A line of modules.dep: a module, a colon, everything it needs.
for module in "$@"; do
  grep -E "(^|/)${module//[-_]/[-_]}\.ko:" "$unpacked/$folder/modules.dep"
done > "$unpacked/wanted"
tr -d : < "$unpacked/wanted" | tr ' ' '\n' | sed '/^$/d' | sort -u > "$unpacked/files"
(cd "$unpacked/$folder" && xargs cp --parents -t "$root/$folder") < "$unpacked/files"
"$busybox" depmod -b "$root" "$version"
(cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc --owner=+0:+0) > "$out.new"
mv "$out.new" "$out"
printf 'guests: %s drivers: %s bytes\n' "$name" "$(stat -c %s "$out")" >&2
