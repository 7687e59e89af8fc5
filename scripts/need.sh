#!/bin/sh
# need.sh --package PACKAGE: the same of one package without a program.
# need.sh PROGRAM...: makes sure that each program is there, installing its Debian package if it is
# not and if that is possible without a question (as root, or with a sudo that asks for no password).
# Says what it does. Exit code 1: something is still missing; the words say what to install.
set -eu

package_of() {
    case $1 in
        cc) echo "gcc libc6-dev" ;;
        fusermount3) echo fuse3 ;;
        ps | pgrep | sysctl) echo procps ;;
        udevadm) echo udev ;;
        unshare | setpriv | mountpoint | findmnt | flock) echo util-linux ;;
        ip) echo iproute2 ;;
        promtool) echo prometheus ;;
        mke2fs) echo e2fsprogs ;;
        # The same program is in rng-tools-debian; this package is the smaller one.
        rngtest | rngd) echo rng-tools5 ;;
        script) echo bsdutils ;;
        systemd-nspawn) echo systemd-container ;;
        dd | shuf | timeout | head | tail) echo coreutils ;;
        # Without the services that their other packages start.
        apache2) echo apache2-bin ;;
        cryptsetup) echo cryptsetup-bin ;;
        stunnel) echo stunnel4 ;;
        nginx) echo nginx-light ;;
        hexdump) echo bsdextrautils ;;
        php) echo php-cli ;;
        tclsh) echo tcl ;;
        gpg) echo "gpg gpg-agent" ;;
        keytool) echo default-jre-headless ;;
        node) echo nodejs ;;
        # 81 MB to fetch, 464 MB on the disk.
        go) echo golang-go ;;
        # What programs that use libcurl are built with.
        curl-config) echo libcurl4-openssl-dev ;;
        *) echo "$1" ;;
    esac
}

missing=
packages=
if [ "${1-}" = --package ]; then
    dpkg -s "$2" >/dev/null 2>&1 || packages=$2
    missing=$packages
    set --
fi
for program in "$@"; do
    if ! command -v "$program" >/dev/null 2>&1; then
        missing="$missing $program"
        packages="$packages $(package_of "$program")"
    fi
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    if ! sudo -n true 2>/dev/null; then
        echo "missing:$missing; install the packages:$packages (for instance: sudo apt-get install$packages)" >&2
        exit 1
    fi
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing; there is no apt-get here: install them with your system's package manager" >&2
    exit 1
fi

echo "installing$packages, because$missing is missing" >&2
export DEBIAN_FRONTEND=noninteractive
# Lists may be old or absent; an update that fails matters only if the installation then fails too.
# shellcheck disable=SC2086 # several words each, on purpose
$as_root apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 </dev/null || {
    $as_root apt-get update -qq </dev/null >&2 || true
    $as_root apt-get install -qq -y --no-install-recommends $packages </dev/null >&2
}
for program in $missing; do
    dpkg -s "$program" >/dev/null 2>&1 || command -v "$program" >/dev/null 2>&1 || {
        echo "$program is still missing after installing$packages" >&2
        exit 1
    }
done
