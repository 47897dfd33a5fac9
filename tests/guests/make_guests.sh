#!/bin/bash
# Fetches Debian's kernel and busybox with apt and makes the guest that `./dev run` and tests/guests boot:
#   make_guests.sh DIRECTORY   ->  DIRECTORY/vmlinuz, DIRECTORY/initramfs.cpio, DIRECTORY/disk_modules.cpio and
#                                  DIRECTORY/net_modules.cpio
# The last two are the kernel's drivers of disks, and of network cards and other virtio devices, for a test to append to
# the initramfs: 'modprobe -a $(cat /disk-modules)'.
# Does nothing when all are there and newer than the files they are made from. Needs no root.
set -euo pipefail

readonly out=$1
readonly here=$(cd "$(dirname "$0")" && pwd)
readonly init=$here/init

say() { printf 'guests: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# The package that a metapackage such as linux-image-cloud-amd64 stands for today.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# download PACKAGE -> path of the .deb, kept in $out/packages.
download() {
  local package=$1 deb sandbox=()
  mkdir -p "$out/packages"
  deb=$(find "$out/packages" -name "${package}_*.deb" | head -n 1)
  if [[ -z $deb ]]; then
    say "fetching $package ..."
    [[ $EUID -eq 0 ]] && sandbox=(-o APT::Sandbox::User=root)
    (cd "$out/packages" && apt-get "${sandbox[@]}" -q download "$package" >&2) ||
      fail "apt cannot fetch $package: run 'apt-get update' and check the network"
    deb=$(find "$out/packages" -name "${package}_*.deb" | head -n 1)
  fi
  printf '%s\n' "$deb"
}

make_kernel() {
  [[ -s $out/vmlinuz ]] && return
  local package deb unpacked
  package=$(kernel_package)
  [[ -n $package ]] || fail "apt knows no linux-image-cloud-amd64: run 'apt-get update'"
  deb=$(download "$package")
  unpacked=$(mktemp -d "$out/kernel.XXXXXX")
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$unpacked" ./boot
  mv "$unpacked"/boot/vmlinuz-* "$out/vmlinuz"
  rm -rf "$unpacked"
  say "kernel: $package"
}

make_initramfs() {
  [[ -s $out/initramfs.cpio && ! $init -nt $out/initramfs.cpio && ! $0 -nt $out/initramfs.cpio ]] && return
  local deb root applet
  deb=$(download busybox-static)
  root=$(mktemp -d "$out/root.XXXXXX")
  mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp}
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" ./bin/busybox
  for applet in $("$root/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
  done
  install -m 755 "$init" "$root/init"
  # /dev/console comes with the kernel's built-in initramfs, so that no device node (and no root) is needed.
  (cd "$root" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc --owner=+0:+0) \
    > "$out/initramfs.new"
  mv "$out/initramfs.new" "$out/initramfs.cpio"
  rm -rf "$root"
  say "initramfs: $(basename "$deb"), $(stat -c %s "$out/initramfs.cpio") bytes"
}

# make_modules NAME MODULE... -> NAME_modules.cpio
make_modules() {
  local to=$out/$1_modules.cpio
  [[ -s $to && ! $0 -nt $to && ! $here/pack_modules.sh -nt $to ]] && return
  "$here/pack_modules.sh" "$(download "$(kernel_package)")" "$(download busybox-static)" "$to" "$@"
}

mkdir -p "$out"
make_kernel
make_initramfs
make_modules disk virtio_pci virtio_blk ata_piix sd_mod sr_mod isofs
make_modules net virtio_pci virtio_net virtio_rng virtio_console virtio_balloon vmw_vsock_virtio_transport
