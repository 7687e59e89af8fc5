#!/bin/sh
# Plugs a USB/IP device in: run in a guest as `busybox nc ADDRESS PORT -e /usbip-attach.sh`, so that descriptor 0 is a
# connection to the server. Asks for the device on bus 1-1 (or $BUSID) and hands the connection to vhci_hcd, which keeps it: closing it at the
# other end unplugs the device.
#
# OP_REQ_IMPORT: version 0x0111, code 0x8003, status (4 bytes), bus id (32). The answer: version, code 3, status, then path
# (256), bus id (32), bus number, device number, speed (4 each), and 12 bytes more. Source: the kernel's
# Documentation/usb/usbip_protocol.rst.
set -eu
port=${VHCI_PORT:-0}
printf '\001\021\200\003\000\000\000\000'
printf '%s' "${BUSID:-1-1}" | busybox dd bs=32 conv=sync 2>/dev/null
answer=$(busybox head -c 320 | busybox xxd -p | busybox tr -d '\n')
number() { # BYTE OFFSET: four bytes of the answer
    echo $((0x$(echo "$answer" | busybox cut -c $(($1 * 2 + 1))-$(($1 * 2 + 8)))))
}
if [ "$(number 4)" -ne 0 ]; then
    echo "the server gives no such device" >/dev/console
    exit 1
fi
devid=$(($(number 296) << 16 | $(number 300)))
echo "$port 0 $devid $(number 304)" >/sys/devices/platform/vhci_hcd.0/attach
