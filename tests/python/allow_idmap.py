"""Whose number a FUSE request carries, without and with FUSE_ALLOW_IDMAP (linux/fuse.h, protocol 7.42).

Usage: allow_idmap.py DIRECTORY: mounts a file system of its own there twice, as root, looks at its root directory, and prints
the user's number of the kernel's request each time. Nothing stays mounted.
"""

import ctypes
import os
import struct
import sys

INIT, GETATTR = 26, 3
INIT_EXT, ALLOW_IDMAP_2 = 1 << 30, 1 << 8
LAZY = 2

libc = ctypes.CDLL(None, use_errno=True)


def answer(fd, unique, body):
    os.write(fd, struct.pack("IiQ", 16 + len(body), 0, unique) + body)


def asked_by(directory, flags2):
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other"
    if libc.mount(b"qrng-test", directory.encode(), b"fuse.qrng-test", 7, options.encode()) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    child = None
    try:
        while True:
            request = os.read(fd, 1 << 20)
            _, opcode, unique, _, uid = struct.unpack_from("IIQQI", request)
            if opcode == INIT:
                _, minor = struct.unpack_from("II", request, 40)
                body = struct.pack("IIIIHHIIHHII", 7, min(minor, 42), 4096, INIT_EXT, 0, 0, 131072, 1, 32, 0, flags2, 0)
                answer(fd, unique, body + bytes(24))
                child = os.fork()
                if child == 0:
                    os.close(fd)
                    try:
                        os.stat(directory)
                    finally:
                        os._exit(0)
            elif opcode == GETATTR:
                # attr_out: a directory.
                times = struct.pack("QII", 0, 0, 0)
                attr = struct.pack("QQQQQQIIIIIIIIII", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40755, 2, 0, 0, 0, 4096, 0)
                answer(fd, unique, times + attr)
                return uid
    finally:
        libc.umount2(directory.encode(), LAZY)
        os.close(fd)
        if child:
            os.waitpid(child, 0)


print(asked_by(sys.argv[1], 0), asked_by(sys.argv[1], ALLOW_IDMAP_2))
