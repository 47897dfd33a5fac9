#!/bin/bash
# Makes a disk with an installed Debian, as its installer would leave it: an MBR with GRUB, one ext4 partition, Debian's
# kernel with the initramfs that its own hooks make, systemd, a login on the console and on the serial port:
#   make_debian_disk.sh DIRECTORY   ->  DIRECTORY/debian.img
# Root's password is "doppel". Does nothing when the image is newer than this script. Needs root (for chroot).
set -euo pipefail

readonly packages=systemd-sysv,dbus,udev,linux-image-amd64,initramfs-tools,zstd,login,passwd,util-linux,e2fsprogs,procps,kmod
readonly uuid=6c4d1a0e-0f0c-4a7e-9d0c-d0bbe1d0bbe1
readonly disk_mib=1600 first_mib=1
readonly grub=/usr/lib/grub/i386-pc

source "$(dirname "$0")/debian_tree.sh" # say, fail

mkdir -p "$1"
readonly out=$(cd "$1" && pwd)
[[ -s $out/debian.img && $out/debian.img -nt $0 ]] && exit
[[ $EUID -eq 0 ]] || fail "needs root, to install packages in a tree: run it with sudo"

readonly work=$(mktemp -d "$out/debian.XXXXXX")
trap 'rm -rf "$work"' EXIT
readonly root=$work/root

say "installing Debian into a tree: two minutes"
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/{doc,man,locale,info}/*' --aptopt='APT::Install-Recommends "false"' \
  --customize-hook='echo root:doppel | chroot "$1" chpasswd' bookworm "$root" >&2
echo debian > "$root/etc/hostname"
printf '127.0.0.1 localhost debian\n' > "$root/etc/hosts"
printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$uuid" > "$root/etc/fstab"

mkdir -p "$root/boot/grub/i386-pc"
cp "$grub"/*.mod "$grub"/*.lst "$root/boot/grub/i386-pc/"
cat > "$root/boot/grub/grub.cfg" << END
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=1
menuentry 'Debian GNU/Linux' {
  search --no-floppy --fs-uuid --set=root $uuid
  linux /vmlinuz root=UUID=$uuid ro console=tty0 console=ttyS0 quiet
  initrd /initrd.img
}
END

readonly image=$work/debian.img partition=$work/partition
truncate -s "$((disk_mib - first_mib))M" "$partition"
mke2fs -q -t ext4 -U "$uuid" -L root -d "$root" "$partition"
truncate -s "${disk_mib}M" "$image"
printf 'label: dos\nstart=%sMiB, type=83, bootable\n' "$first_mib" | sfdisk -q "$image"
dd if="$partition" of="$image" bs=1M seek="$first_mib" conv=notrunc,sparse status=none

# GRUB as grub-install puts it: its first sector before the partition table, the rest in the sectors behind that, where
# the image that grub-mkimage makes expects itself.
grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$work/core.img" biosdisk part_msdos ext2
dd if="$grub/boot.img" of="$image" bs=1 count=440 conv=notrunc status=none
dd if="$work/core.img" of="$image" bs=512 seek=1 conv=notrunc status=none
mv "$image" "$out/debian.img"
say "$out/debian.img: $(du -h "$out/debian.img" | cut -f1)"
