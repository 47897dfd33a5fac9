# Functions that make a system's file tree and an initramfs from Debian packages, without root. Sourced by the scripts
# that make guests; they own the choice of packages and where they are kept.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
fail() { say "$*"; exit 1; }

# apt_of CACHE COMMAND...: sees what Debian has, whatever is installed here.
apt_of() {
  local cache=$1 command=$2 sandbox=()
  shift 2
  [[ $EUID -eq 0 ]] && sandbox=(-o APT::Sandbox::User=root)
  "$command" "${sandbox[@]}" -o Dir::State::status=/dev/null -o Dir::Cache::pkgcache="$cache/pkgcache.bin" \
    -o Dir::Cache::srcpkgcache="$cache/srcpkgcache.bin" "$@"
}

# closure CACHE WITHOUT PACKAGE...: the packages and all that they depend on, but those that match the regular
# expression.
closure() {
  local cache=$1 without=$2
  shift 2
  apt_of "$cache" apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    "$@" | grep '^[a-z0-9]' | sort -u | grep -Ev "$without"
}

# download CACHE PACKAGE -> path of the .deb, kept in CACHE.
download() {
  local cache=$1 package=$2 deb
  deb=$(find "$cache" -name "${package}_*.deb" | head -n 1)
  if [[ -z $deb ]]; then
    say "fetching $package"
    (cd "$cache" && apt_of "$cache" apt-get -qq download "$package" >&2) ||
      fail "apt cannot fetch $package: run 'apt-get update' and check the network"
    deb=$(find "$cache" -name "${package}_*.deb" | head -n 1)
  fi
  printf '%s\n' "$deb"
}

# unpack CACHE PACKAGE DIRECTORY
unpack() {
  local deb
  deb=$(download "$1" "$2")
  dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$3"
}

# make_root ROOT CACHE WITHOUT PACKAGE...: the packages' files, without what only people read.
make_root() {
  local tree=$1 cache=$2 without=$3 directory package
  shift 3
  rm -rf "$tree"
  mkdir -p "$cache" "$tree"/{dev,proc,sys,tmp} "$tree"/usr/{bin,sbin,lib,lib64}
  for directory in bin sbin lib lib64; do ln -s "usr/$directory" "$tree/$directory"; done
  for package in $(closure "$cache" "$without" "$@"); do unpack "$cache" "$package" "$tree"; done
  rm -rf "$tree"/usr/share/{bash-completion,bug,doc,doc-base,info,lintian,locale,man,menu,pixmaps,applications} \
    "$tree"/usr/lib/*/gconv "$tree"/usr/lib/python3*/{ensurepip,idlelib,lib2to3,pydoc_data,test}
}

# in_tree ROOT COMMAND...: runs it natively with ROOT as the root directory; /dev and /proc are the host's.
in_tree() {
  local tree=$1
  shift
  if unshare --map-root-user --mount true 2> /dev/null; then
    unshare --map-root-user --mount --propagation private -- sh -c \
      'mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"' "$tree" "$@"
  else
    chroot "$tree" "$@"
  fi
}

# pack ROOT: an initramfs on standard output.
pack() { (cd "$1" && find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc --owner=+0:+0); }
