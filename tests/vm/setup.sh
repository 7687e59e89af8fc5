#!/usr/bin/env bash
# setup.sh base|full: makes sure that what the VM bench runs is at hand, downloading what is missing.
#
#   base   QEMU, a kernel with the modules that guests load, busybox
#   full   that, and the disk of a guest with systemd, udev and programs that read a device (as root; installs mmdebstrap and
#          e2fsprogs if need be)
#
# Everything else lies in one folder outside the repository, ${QRNG_VM_CACHE:-~/.cache/qrng-vm}. A part is there whole or not
# at all: it is made beside its place and renamed. So this can be interrupted at any time, and the next run goes on with the
# packages that had arrived. Remove the folder to have everything made anew.
#
# The packages are Debian's, from the mirror that this machine's own apt uses, checked with Debian's keys. QEMU comes from the
# backports of the release after this kernel's (vfio-user devices need QEMU 10.1), with the libraries that it was built
# for: it runs through its own loader and touches none of this machine's.
#
# Prints the folder of the parts on standard output, and what it does on standard error. Exit code 1: something cannot be
# had; the last line says what and why.
set -euo pipefail
export LC_ALL=C.UTF-8

# Raised whenever a part is made in another way: parts of other numbers are removed.
readonly RECIPE=4
# The guests' release, and the one whose backports have QEMU.
readonly GUEST=bookworm QEMU=trixie
readonly KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
# What the guest with systemd has beside the least that Debian is made of.
readonly PROGRAMS=systemd-sysv,udev,kmod,openssl,python3-minimal,rng-tools-debian
# What a guest may load, as paths under lib/modules/VERSION/kernel.
readonly MODULES=(crypto drivers/block/virtio_blk.ko drivers/char/hw_random drivers/net/net_failover.ko drivers/net/virtio_net.ko drivers/uio
    drivers/usb/common drivers/usb/core drivers/usb/usbip drivers/vfio drivers/virtio fs/ext4 fs/fuse fs/jbd2 fs/mbcache.ko
    lib net/core/failover.ko virt/lib)

say() { printf 'vm bench: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# The address of the mirror that this machine's apt uses; none if its lists were never fetched.
mirror() {
    # shellcheck disable=SC2016 # apt expands it
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
        grep -v security | head -n 1 || true
}

# apt_root NAME KEYS SUITE...: an apt of its own, which knows nothing as installed, with lists of these suites.
apt_root() {
    local root=$cache/apt-$1 keys=$2 suite
    shift 2
    mkdir -p "$root"/{state/lists/partial,cache/archives/partial,etc/preferences.d}
    : >"$root/status"
    for suite in "$@"; do
        printf 'deb [signed-by=%s] %s %s main\n' "$keys" "$mirror" "$suite"
    done >"$root/etc/sources.list"
    {
        # How this machine reaches its mirror.
        apt-config dump | grep -i '^Acquire::.*proxy' || true
        printf '%s "%s";\n' Dir::State "$root/state" Dir::State::status "$root/status" Dir::Cache "$root/cache" \
            Dir::Etc "$root/etc" Dir::Etc::main /dev/null Dir::Etc::parts /dev/null APT::Architecture amd64 \
            APT::Install-Recommends false APT::Sandbox::User root Acquire::Languages none Acquire::Retries 3 \
            Debug::NoLocking true
    } >"$root/conf"
    apt_in "${root##*/apt-}" apt-get -qq update >&2 || fail "the lists of $* cannot be had from this machine's Debian mirror"
}

apt_in() { # NAME COMMAND...
    local root=$cache/apt-$1
    shift
    APT_CONFIG=$root/conf "$@" </dev/null
}

# The lists of the guests' release, fetched once.
guest_lists() {
    [ -z "$guest_lists" ] || return 0
    apt_root guest "$KEYS" "$GUEST"
    guest_lists=fetched
}

# download PACKAGE...: these packages of the guests' release alone, into `$packages`.
download() {
    mkdir -p "$packages"
    (cd "$packages" && apt_in guest apt-get -qq download "$@" >&2) || fail "cannot be downloaded: $*"
}

begin() { # PART
    rm -rf --one-file-system "$cache/$1.new"
    mkdir -p "$cache/$1.new"
    cd "$cache/$1.new"
    say "making $1"
}

finish() { # PART
    cd "$cache"
    mv "$1.new" "$1"
}

make_qemu() {
    begin qemu
    guest_lists
    # This machine's keys may be older than that release.
    download debian-archive-keyring
    dpkg-deb -x "$packages"/debian-archive-keyring_*.deb .
    apt_root qemu "$PWD$KEYS" "$QEMU" "$QEMU-backports"
    apt_in qemu apt-get -qq -y -d -t "$QEMU-backports" install qemu-system-x86 >&2 || fail "QEMU cannot be downloaded"
    local package
    for package in "$cache"/apt-qemu/cache/archives/*.deb; do
        dpkg-deb -x "$package" .
    done
    rm -rf usr/share/doc usr/share/locale usr/share/man
    local lib=$PWD/usr/lib/x86_64-linux-gnu
    "$lib/ld-linux-x86-64.so.2" --library-path "$lib" usr/bin/qemu-system-x86_64 -device help 2>/dev/null |
        grep -q vfio-user-pci || fail "the QEMU of $QEMU-backports has no vfio-user-pci"
    finish qemu
}

make_kernel() {
    begin kernel
    guest_lists
    local package version
    package=$(apt_in guest apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2; exit }')
    [ -n "$package" ] || fail "linux-image-amd64 of $GUEST names no kernel"
    version=${package#linux-image-}
    download "$package" busybox-static
    dpkg-deb --fsys-tarfile "$packages"/busybox-static_*.deb | tar -xO ./bin/busybox >busybox
    chmod 0755 busybox
    dpkg-deb --fsys-tarfile "$packages"/linux-image-*.deb | tar -x "./boot/vmlinuz-$version" "./lib/modules/$version/modules.builtin" \
        "./lib/modules/$version/modules.order" "${MODULES[@]/#/./lib/modules/$version/kernel/}"
    mv "boot/vmlinuz-$version" vmlinuz
    # Which module needs which; busybox' depmod reads nothing of this machine's.
    ./busybox depmod -b "$PWD" "$version"
    printf '%s\n' "$version" >version
    rm -rf boot
    finish kernel
}

make_full() {
    begin full
    [ "$(id -u)" -eq 0 ] || fail "the tree of the guest with systemd can only be made by root"
    sh "$here/../../scripts/need.sh" mmdebstrap mke2fs >&2 || fail "mmdebstrap and e2fsprogs are needed and cannot be installed"
    local exclude=() folder version
    for folder in doc i18n info locale man; do
        exclude+=("--dpkgopt=path-exclude=/usr/share/$folder/*")
    done
    # The disk is made to be thrown away: nothing needs to be safe against a loss of power.
    mmdebstrap --quiet --variant=minbase --mode=root --include="$PROGRAMS" --keyring="$KEYS" "${exclude[@]}" \
        --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' "$GUEST" tree "deb $mirror $GUEST main" >&2 ||
        fail "mmdebstrap could not make the tree of a guest with systemd"
    version=$(cat "$cache/kernel/version")
    mkdir -p "tree/lib/modules"
    cp -a "$cache/kernel/lib/modules/$version" tree/lib/modules/
    chroot tree depmod "$version"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -d tree disk.ext4 512M >&2 || fail "the disk of the guest with systemd cannot be made"
    rm -rf tree
    finish full
}

here=$(cd "$(dirname "$0")" && pwd)
root=${QRNG_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/qrng-vm}
cache=$root/$RECIPE
packages=$cache/apt-guest/packages
guest_lists=
mkdir -p "$cache"

case $* in
    base) parts="qemu kernel" ;;
    full) parts="qemu kernel full" ;;
    *) fail "there is no part $*" ;;
esac

# Two set-ups at once would make the same part twice. The lock goes with the process.
exec 9>"$root/setup.lock"
flock -n 9 || { say "waiting for another set-up" && flock 9; }
for old in "$root"/[0-9]*; do
    [ "$old" = "$cache" ] || rm -rf "$old"
done
for part in $parts; do
    [ ! -d "$cache/$part" ] || continue
    [ "$(uname -m)" = x86_64 ] || fail "the guests are x86-64 machines, and so must this one be"
    { command -v apt-get && command -v dpkg-deb; } >/dev/null || fail "there is no apt here: set-up needs a Debian machine"
    mirror=$(mirror)
    [ -n "$mirror" ] || { apt-get -qq update >&2 && mirror=$(mirror); } || true
    [ -n "$mirror" ] || fail "this machine's apt knows no Debian mirror"
    "make_$part"
done
# Lists and packages are of use until everything is there.
rm -rf --one-file-system "$cache"/apt-* "$cache"/*.new
printf '%s\n' "$cache"
