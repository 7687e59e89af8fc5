#!/bin/sh
# /init of every guest, run by busybox: mounts, modules, network; then the agent, or systemd if there is a disk.
#
# The harness wrote /modules (names, one a line) and, for a guest with a disk, /payload (what is copied onto it).
/bin/busybox --install -s /bin
export PATH=/bin:/usr/local/bin HOME=/
mkdir -p /proc /sys /dev /run /tmp /newroot
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

while read -r module; do
    modprobe "$module" || echo "guest: $module cannot be loaded"
done </modules

# The user-mode network: this machine, and the host's loopback at 10.0.2.2.
ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
    ip link set eth0 up
    ip address add 10.0.2.15/24 dev eth0
fi

if [ -b /dev/vda ]; then
    mount -t ext4 -o noatime /dev/vda /newroot
    cp -a /payload/. /newroot/
    exec switch_root /newroot /sbin/init
fi
exec /bin/sh /agent.sh
