#!/bin/bash
# Makes DIRECTORY/stress.cpio, an initramfs with stress-ng that runs the jobs of the kernel's command line (STRESS="...")
# and powers off. Packages are kept in DIRECTORY/packages. Needs no root.
set -euo pipefail

readonly here=$(cd "$(dirname "$0")" && pwd)
source "$here/debian_tree.sh"

mkdir -p "$1"
readonly out=$(cd "$1" && pwd)
readonly root=$out/stress-root
# Drivers behind the graphics libraries that stress-ng is linked with.
readonly unwanted='^(libegl-mesa0|libgl1-mesa-dri|libllvm.*|libz3.*|dpkg|tar|install-info|debconf.*|.*:i386)$'

[[ -s $out/stress.cpio && -z $(find "$here"/{debian_tree.sh,make_stress.sh} -newer "$out/stress.cpio") ]] && exit

make_root "$root" "$out/packages" "$unwanted" dash busybox-static stress-ng
ln -sf dash "$root/bin/sh"
cat > "$root/init" << 'END'
#!/bin/sh
export PATH=/usr/bin:/usr/sbin HOME=/tmp
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
busybox mkdir -p /dev/shm
busybox mount -t tmpfs tmpfs /tmp
cd /tmp
stress-ng --verify --metrics-brief $STRESS
echo "@status $? $(busybox nproc)"
busybox dmesg | busybox grep -iE 'lockup|stall|BUG:|call trace|segfault'
busybox poweroff -f
END
chmod +x "$root/init"
pack "$root" > "$out/stress.new"
mv "$out/stress.new" "$out/stress.cpio"
rm -rf "$root"
