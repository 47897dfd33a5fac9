#!/bin/bash
# Makes the guests that boot as on a PC of the nineties and those of 32 bits, from Debian packages:
#   make_pc_guests.sh DIRECTORY [--all]
#     DIRECTORY/memtest.iso, memtest32.bin           memtest86+: the 64-bit CD, the 32-bit program
#     DIRECTORY/grub-rescue.iso, grub-rescue.img     GRUB's rescue CD and floppy
#     DIRECTORY/vmlinuz-686, initramfs32.cpio        Debian's 32-bit kernel without PAE, a shell for it
#     DIRECTORY/net32_modules.cpio                   drivers of that kernel
#     DIRECTORY/ipxe.iso                             iPXE's CD
#     DIRECTORY/isolinux.iso                         ISOLINUX, with iPXE to load
#     DIRECTORY/grub.iso                             by grub-mkrescue: tests/guests/grub_cd, and GNU Mach with a task of ours
#   with --all, 250 MB of packages more:
#     DIRECTORY/installer.iso                        Debian's installer (netboot, text), started by ISOLINUX
#     DIRECTORY/vmlinuz-686-pae, vmlinuz-rt          the 32-bit kernel with PAE, the real-time one of 64 bits
# Does nothing for what is there and newer than what it is made from. Needs no root. A part that fails leaves the others.
set -euo pipefail

readonly here=$(cd "$(dirname "$0")" && pwd)
source "$here/debian_tree.sh"

mkdir -p "$1"/{pc-packages,i386-packages/lists/partial}
readonly out=$(cd "$1" && pwd) which=${2:-}
readonly amd64=$out/pc-packages i386=$out/i386-packages

for_i386() { APT_CONFIG=$i386/apt.conf "$@"; }

# APT of an i386 system: the release's main archive from the host's mirror, lists of its own.
update_i386() {
  local release mirror
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | grep " $release\$" | head -n 1)
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror% *} $release main" > "$i386/sources.list"
  cat > "$i386/apt.conf" << END
APT::Architecture "i386";
APT::Architectures { "i386"; };
Dir::State::lists "$i386/lists";
Dir::Etc::sourcelist "$i386/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
END
  [[ -n $(find "$i386/lists" -name '*_Packages*') ]] ||
    for_i386 apt_of "$i386" apt-get -qq update >&2 || fail "apt cannot fetch the lists of i386"
}

# current FILE SOURCE...
current() { [[ -s $1 && -z $(find "${@:2}" "$here"/{make_pc_guests,debian_tree}.sh -newer "$1") ]]; }

# file_of DEB PATH: the file on standard output; the path may have wildcards.
file_of() { dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "$2"; }

# The package that a metapackage stands for today.
dependency() { apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1; }

make_memtest() {
  current "$out/memtest32.bin" && return
  local deb
  deb=$(download "$amd64" memtest86+)
  file_of "$deb" ./usr/lib/memtest86+/memtest86+x64.iso > "$out/memtest.iso"
  file_of "$deb" ./boot/memtest86+ia32.bin > "$out/memtest32.bin"
}

make_grub_rescue() {
  current "$out/grub-rescue.img" && return
  local deb
  deb=$(download "$amd64" grub-rescue-pc)
  file_of "$deb" ./usr/lib/grub-rescue/grub-rescue-cdrom.iso > "$out/grub-rescue.iso"
  file_of "$deb" ./usr/lib/grub-rescue/grub-rescue-floppy.img > "$out/grub-rescue.new"
  truncate -s 1440K "$out/grub-rescue.new" # the image ends where the floppy's used part does
  mv "$out/grub-rescue.new" "$out/grub-rescue.img"
}

make_linux_686() {
  current "$out/vmlinuz-686" "$here/init" && return
  local deb tree applet
  update_i386
  tree=$(mktemp -d "$out/root32.XXXXXX")
  mkdir -p "$tree"/{bin,dev,etc,proc,root,sys,tmp}
  deb=$(for_i386 download "$i386" busybox-static)
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" ./bin/busybox
  for applet in sh cttyhack setsid mount mkdir hostname uname poweroff cat grep stty; do ln -s busybox "$tree/bin/$applet"; done
  install -m 755 "$here/init" "$tree/init"
  pack "$tree" > "$out/initramfs32.cpio"
  rm -rf "$tree"
  make_kernel 686 linux-image-686 "$i386" for_i386
}

# What the cloud kernel of the other tests lacks: a folder of the host's, Intel's network card.
make_modules_686() {
  current "$out/net32_modules.cpio" "$here/pack_modules.sh" && return
  update_i386
  "$here/pack_modules.sh" "$(for_i386 download "$i386" "$(for_i386 dependency linux-image-686)")" \
    "$(download "$amd64" busybox-static)" "$out/net32_modules.cpio" net virtio_pci virtio_net 9pnet_virtio 9p e1000
}

for_host() { "$@"; }

# make_kernel NAME METAPACKAGE CACHE COMMAND: DIRECTORY/vmlinuz-NAME; the command runs functions for an architecture.
make_kernel() {
  local deb
  deb=$("$4" download "$3" "$("$4" dependency "$2")")
  file_of "$deb" './boot/vmlinuz-*' > "$out/vmlinuz.new"
  mv "$out/vmlinuz.new" "$out/vmlinuz-$1"
}

make_other_kernels() {
  [[ $which == --all ]] || return 0
  update_i386
  current "$out/vmlinuz-686-pae" || make_kernel 686-pae linux-image-686-pae "$i386" for_i386
  current "$out/vmlinuz-rt" || make_kernel rt linux-image-rt-amd64 "$amd64" for_host
}

# grub-mkrescue runs in a tree of its own, so that the host needs none of its packages.
make_grub_cd() {
  current "$out/grub.iso" "$here"/{grub_cd,mach_task.S} && return
  local tree cd deb
  update_i386
  tree=$(mktemp -d "$out/grub.XXXXXX")
  make_root "$tree" "$amd64" '^(debconf.*|cdebconf|dpkg|tar|install-info|gettext-base|grub.*-efi.*|os-prober|.*:i386)$' \
    grub-common grub-pc-bin xorriso mtools
  cd=$tree/cd
  cp -r "$here/grub_cd" "$cd"
  deb=$(for_i386 download "$i386" gnumach-image-1.8-486)
  file_of "$deb" ./boot/gnumach-1.8-486.gz > "$cd/mach.gz"
  as --32 -o "$tree/task.o" "$here/mach_task.S"
  ld -m elf_i386 -Ttext=0x10000 -e start -o "$cd/task" "$tree/task.o"
  in_tree "$tree" /usr/bin/grub-mkrescue -o /grub.iso /cd > "$tree/log" 2>&1 ||
    { cat "$tree/log" >&2; fail "grub-mkrescue failed"; }
  mv "$tree/grub.iso" "$out/grub.iso"
  rm -rf "$tree"
}

# iso_tree NAME -> a new tree with xorriso, so that the host needs none of its packages, and ISOLINUX in its cd.
iso_tree() {
  local tree isolinux modules name
  tree=$(mktemp -d "$out/$1.XXXXXX")
  make_root "$tree" "$amd64" '^(debconf.*|cdebconf|dpkg|tar|install-info|.*:i386)$' xorriso
  isolinux=$(download "$amd64" isolinux)
  modules=$(download "$amd64" syslinux-common)
  mkdir -p "$tree/cd/isolinux"
  file_of "$isolinux" ./usr/lib/ISOLINUX/isolinux.bin > "$tree/cd/isolinux/isolinux.bin"
  for name in ldlinux libcom32 libutil; do
    file_of "$modules" "./usr/lib/syslinux/modules/bios/$name.c32" > "$tree/cd/isolinux/$name.c32"
  done
  cp "$here/isolinux.cfg" "$tree/cd/isolinux/"
  printf '%s\n' "$tree"
}

# pack_iso TREE FILE
pack_iso() {
  in_tree "$1" /usr/bin/xorriso -as mkisofs -quiet -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table -o /new.iso /cd > "$1/log" 2>&1 || { cat "$1/log" >&2; fail "xorriso failed"; }
  mv "$1/new.iso" "$2"
  rm -rf "$1"
}

make_isolinux() {
  current "$out/isolinux.iso" "$here/isolinux.cfg" && return
  local ipxe tree
  ipxe=$(download "$amd64" ipxe)
  file_of "$ipxe" ./usr/lib/ipxe/ipxe.iso > "$out/ipxe.iso"
  tree=$(iso_tree isolinux)
  file_of "$ipxe" ./boot/ipxe.lkrn > "$tree/cd/ipxe.krn"
  pack_iso "$tree" "$out/isolinux.iso"
}

make_installer() {
  [[ $which == --all ]] || return 0
  current "$out/installer.iso" "$here/isolinux.cfg" && return
  local deb tree name
  deb=$(download "$amd64" debian-installer-12-netboot-amd64)
  tree=$(iso_tree installer)
  for name in linux initrd.gz; do
    file_of "$deb" "./usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/$name" > "$tree/cd/$name"
  done
  pack_iso "$tree" "$out/installer.iso"
}

# A part is a process of its own: in a subshell before || an error would not end it.
if [[ -n ${3:-} ]]; then
  "make_$3"
  exit
fi
status=0
for part in memtest grub_rescue grub_cd isolinux installer linux_686 modules_686 other_kernels; do
  "$0" "$out" "$which" "$part" || { say "no $part: its tests are skipped"; status=1; }
done
exit "$status"
