"""The ways by which a program can read the gateway's bytes as a file, each beside /dev/urandom, by one dd."""

import json
import os
import stat
import sys

from world import MIB, Chain, wait_for

BLOCKS = [32, 4096, 64 * 1024, MIB]
# Bytes a measurement: some tenths of a second with the slowest way.
VOLUME = {32: 1_280_000, 4096: 32 * MIB, 64 * 1024: 64 * MIB, MIB: 64 * MIB}
BUFFER = 256 * MIB
# What a device is made by, where the kernel can make one.
CUSE = "/dev/cuse"
DEVICE = "qrng-bench"


class Ways:
    """A gateway that is filled, and what reads from it."""

    def __init__(self, world):
        socket = world.path("ways.socket")
        more = f"[stream]\nlisten = {json.dumps(socket)}\n"
        self.has_device = os.access(CUSE, os.R_OK | os.W_OK)
        if self.has_device:
            more += f'[device]\nraw = "{DEVICE}"\n'
        self.chain = Chain(world, "ways", BUFFER, 'kind = "simulator"\nrate = "unlimited"', more)
        self.chain.hold()
        fifo = world.path("ways.fifo")
        config = world.path("ways.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"gateway-socket = {json.dumps(socket)}\n[fifo]\npath = {json.dumps(fifo)}\n")
        log = world.path("ways.log")
        adapter = world.start("qrng-adapter", ["fifo", "--config", config], log)
        wait_for("the FIFO", lambda: os.path.exists(fifo) and stat.S_ISFIFO(os.stat(fifo).st_mode), [adapter], [log])
        # By the name in the table.
        self.paths = {"/dev/urandom": "/dev/urandom", "mount": self.chain.file("raw"), "FIFO": fifo}
        if self.has_device:
            device = f"/dev/{DEVICE}"
            wait_for("the device", lambda: os.path.exists(device), [self.chain.gateway], self.chain.logs)
            self.paths["device"] = device
        else:
            print(f"no device is measured: there is no {CUSE} that can be opened here", file=sys.stderr)


def measure(ways, dd, results, scale):
    """Bytes a second of each way; `dd` as in bench.py."""
    for block in BLOCKS:
        count = max(1, int(VOLUME[block] * scale) // block)
        for name, path in ways.paths.items():
            # The collector stands still meanwhile: what is read was there before.
            ways.chain.fill_to(min(count * block + MIB, BUFFER))
            results.add(("way", name, block), count * block / dd(path, block, count, 1))


def rows(results, size_name, rate, ratio):
    """The table's rows; the functions are those of bench.py."""
    names = [name for kind, name, block in filter(is_of_a_way, results.rounds) if block == BLOCKS[0]]
    for name in names:
        for block in BLOCKS:
            kernel, own = ("way", "/dev/urandom", block), ("way", name, block)
            if name != "/dev/urandom":
                yield [name, size_name(block), rate(results.median(kernel)), rate(results.median(own)),
                       f"{block / results.median(own) * 1e6:.2f} us", ratio(results.ratios(own, kernel))]


def is_of_a_way(key):
    return isinstance(key, tuple) and key[0] == "way"
