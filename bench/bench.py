#!/usr/bin/env python3
"""Measures the diode beside /dev/urandom and beside stock fuser, in one run.

Rounds are interleaved: each round measures every subject once, one after another, so that whatever
else the machine does hits all alike. Ratios are taken within a round; the table gives the median of
the rounds, and the smallest and largest. Reads are made by dd, one or two of them at a time.
"""

import argparse
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

import ways
import web
from world import HALT_POLL, MIB, Chain, Trouble, World, halt_polling, resident_bytes, threads_of, with_children

BLOCKS = [32, 4096, 64 * 1024, 128 * 1024, MIB]
# Bytes per reader and measurement: enough for some tenths of a second with the slowest subject.
VOLUME = {32: 1_280_000, 4096: 48 * MIB, 64 * 1024: 96 * MIB, 128 * 1024: 96 * MIB, MIB: 128 * MIB}
READERS = [1, 2]
# Reads that take less time than waking does.
SMALL_BLOCKS = [32, 4096]
PARTS = ["reads", "asleep", "generator", "chain", "tuning", "cpu", "memory", "ways", "http", "core"]
FILLED_BUFFER = 512 * MIB
# For small reads alone.
ASLEEP_BUFFER = 64 * MIB
CHAIN_BUFFER = 16 * MIB
CHAIN_VOLUME = 512 * MIB
GENERATOR_VOLUME = 2048 * MIB
# Good data that the health tests go through, in MiB, for speed and false alarms.
CORE_MEBIBYTES = 1024
RATES = [("idle", None), ("0.5 MB/s", 500_000), ("2 MB/s", 2_000_000), ("30 MB/s", 30_000_000)]
# The clock ticks that a kernel without schedstat gives are 10 ms: long enough for 0.1 % of a core.
CPU_SECONDS = 10

# What the product promises on a machine with two cores: (part, name, limit, whether more is better).
TARGETS = {
    ("ratio", MIB): (8.0, True),
    ("ratio", 128 * 1024): (6.0, True),
    ("ratio", 4096): (0.8, True),
    ("floor", 32): (1.15, False),
    ("generator", 1): (8.0, True),
    ("generator", 2): (9.0, True),
    "chain": (1.0, True),
    "cpu idle": (0.5, False),
    "cpu 30 MB/s": (15.0, False),
    "memory": (12.0, False),
    "http": (0.6, True),
    "http p99": (1.5, False),
    "http idle": (25.0, False),
    "http slow": (0.0, False),
}


def size_name(size):
    for unit, name in ((MIB, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size // unit} {name}"
    return f"{size} B"


def dd(path, block, count, readers):
    """Seconds that `readers` dd at a time took for `count` blocks each: those of the slowest."""
    command = ["dd", f"if={path}", "of=/dev/null", f"bs={block}", f"count={count}", "iflag=fullblock"]
    environment = dict(os.environ, LC_ALL="C")
    processes = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
        for _ in range(readers)
    ]
    slowest = 0.0
    for process in processes:
        words = process.communicate()[1]
        match = re.search(r"^(\d+) bytes.* copied, ([0-9.e+-]+) s", words, re.MULTILINE)
        if process.returncode != 0 or not match or int(match.group(1)) != block * count:
            raise Trouble(f"dd from {path}: {words.strip()}")
        slowest = max(slowest, float(match.group(2)))
    return slowest


class Results:
    """Numbers by name, one a round."""

    def __init__(self):
        self.rounds = {}

    def add(self, name, value):
        self.rounds.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.rounds[name])

    def ratios(self, above, below):
        return [a / b for a, b in zip(self.rounds[above], self.rounds[below])]

    def __contains__(self, name):
        return name in self.rounds


def measure_block(chain, floor, results, block, readers, scale, prefix=""):
    """One block size and number of readers, from each of the three subjects in turn."""
    count = max(1, int(VOLUME[block] * scale) // block)
    volume = count * block * readers
    # The collector stands still meanwhile: what is read was there before.
    chain.fill_to(min(volume + MIB, FILLED_BUFFER))
    subjects = [("urandom", "/dev/urandom"), ("floor", floor), ("gateway", chain.file("raw"))]
    for name, path in subjects:
        results.add((prefix + name, block, readers), volume / dd(path, block, count, readers))


def measure_reads(chain, floor, results, scale):
    for readers in READERS:
        for block in BLOCKS:
            measure_block(chain, floor, results, block, readers, scale)


def measure_asleep(chain, floor, results, scale):
    """Small reads again where the gateway lets processors sleep, and where virtual ones wait a little before they do."""
    for block in SMALL_BLOCKS:
        measure_block(chain, floor, results, block, 1, scale, "asleep ")
    with halt_polling() as possible:
        for block in SMALL_BLOCKS if possible else []:
            measure_block(chain, floor, results, block, 1, scale, "halt ")


def measure_generator(chain, results, scale):
    """The gateway's own generator beside the kernel's, if this gateway has it."""
    if not os.path.exists(chain.file("urandom")):
        return
    count = max(16, int(GENERATOR_VOLUME * scale) // MIB)
    # Seeded by then: the buffer holds bytes.
    chain.fill_to(MIB)
    for readers in READERS:
        for name, path in [("generator urandom", "/dev/urandom"), ("generator", chain.file("urandom"))]:
            # The kernel's is slower; the same time is enough.
            blocks = count if name == "generator" else max(16, count // 8)
            results.add((name, MIB, readers), blocks * MIB * readers / dd(path, MIB, blocks, readers))


def core_benches(scale):
    """What the benchmarks of parts print: health tests, conditioning and drivers, without daemons."""
    lines = ["", "## Health tests, conditioning and drivers, on one core", "", "```"]
    mebibytes = str(max(64, int(CORE_MEBIBYTES * scale)))
    benches = [("qrng", "health", [mebibytes]), ("qrng", "condition", []), ("qrng-collector", "pcie", []), ("qrng-collector", "xdma", [])]
    for package, name, arguments in benches:
        command = ["cargo", "bench", "--quiet", "-p", package, "--bench", name, "--", *arguments]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0:
            raise Trouble(f"{' '.join(command)} ended with code {ended.returncode}\n{ended.stdout}")
        lines += [f"{name}:", *ended.stdout.rstrip().splitlines(), ""]
    return lines[:-1] + ["```"]


def measure_chain(chain, results, scale):
    """The collector at full speed, through the gateway, into dd; and the kernel's generator beside it."""
    count = max(64, int(CHAIN_VOLUME * scale) // MIB)
    results.add("chain urandom", count * MIB / dd("/dev/urandom", MIB, count, 1))
    chain.resume()
    # What had piled up is no part of what is sustained.
    dd(chain.file("raw"), MIB, CHAIN_BUFFER // MIB * 2, 1)
    before = chain.status()
    seconds = dd(chain.file("raw"), MIB, count, 1)
    after = chain.status()
    chain.hold()
    results.add("chain", count * MIB / seconds)
    for group, name in (("packets", "lost"), ("packets", "socket_drops"), ("bytes", "overflow_discarded")):
        results.add(f"chain {name}", after[group][name] - before[group][name])


def measure_tuning(chain, filled, results, scale):
    """What an operator could change from outside while it runs, beside it as it is (docs/operations.md)."""
    count = max(64, int(CHAIN_VOLUME * scale) // MIB)
    daemons = [*with_children(chain.gateway.pid), *with_children(chain.collector.pid)]
    threads = [thread for pid in daemons for thread in threads_of(pid)]
    policies = {number: os.sched_getscheduler(number) for number, _ in threads}
    receive = [number for number, name in threads if name == "receive"]
    chain.resume()
    dd(chain.file("raw"), MIB, CHAIN_BUFFER // MIB * 2, 1)

    def measure(name):
        results.add(f"tuning {name}", count * MIB / dd(chain.file("raw"), MIB, count, 1))

    measure("as it is")
    for number, _ in threads:
        os.sched_setscheduler(number, os.SCHED_OTHER, os.sched_param(0))
    measure("all threads as SCHED_OTHER")
    for number, policy in policies.items():
        os.sched_setscheduler(number, policy, os.sched_param(0))
    for number in receive:
        os.setpriority(os.PRIO_PROCESS, number, -10)
    measure("receive at nice -10")
    for number in receive:
        os.setpriority(os.PRIO_PROCESS, number, 0)
    chain.hold()
    # Where the threads that serve run, for 32 bytes at a time from a filled buffer.
    serving = [number for number, name in threads_of(filled.gateway.pid) if name.startswith("fuse-")]
    everywhere = os.sched_getaffinity(0)
    reads = max(1, int(VOLUME[32] * scale) // 32)
    filled.fill_to(reads * 32 * 4)
    for name, serve_on, read_on in [
        ("unbound", everywhere, everywhere),
        ("threads that serve bound to one processor", {0}, everywhere),
        ("these and the reader bound to one processor", {0}, {0}),
    ]:
        for number in serving:
            os.sched_setaffinity(number, serve_on)
        os.sched_setaffinity(0, read_on)
        try:
            results.add(f"tuning 32 B, {name}", dd(filled.file("raw"), 32, reads, 1) / reads)
        finally:
            os.sched_setaffinity(0, everywhere)
            for number in serving:
                os.sched_setaffinity(number, everywhere)


def report_tuning(results):
    rows = []
    for name, values in results.rounds.items():
        if not str(name).startswith("tuning "):
            continue
        what = name.removeprefix("tuning ")
        value = results.median(name)
        rows.append([what, f"{value * 1e6:.1f} us a read" if what.startswith("32 B") else rate(value),
                     f"{min(values) / value:.2f}-{max(values) / value:.2f} of the median"])
    return ["", "## What could be tuned", "", *table(["what", "median", "spread"], rows)]


def measure_cpu(world, results, seconds, round_number):
    """Processor time of both daemons together at each rate, in percent of one core."""
    for name, rate in RATES:
        label = f"cpu-{round_number}-{rate or 0}"
        if rate is None:
            # A pipe that nobody writes into: a device that is there and silent.
            pipe = world.path(f"{label}.fifo")
            os.mkfifo(pipe)
            holder = os.open(pipe, os.O_RDWR)
            source = f'kind = "node"\npath = "{pipe}"'
        else:
            holder = None
            source = f'kind = "simulator"\nrate = "{rate / 1e6} MB/s"'
        chain = Chain(world, label, CHAIN_BUFFER, source)
        reader = None
        if rate is not None:
            reader = subprocess.Popen(
                ["dd", f"if={chain.file('raw')}", "of=/dev/null", "bs=64K"],
                stderr=subprocess.DEVNULL,
            )
        try:
            # Until what is special at a start is over.
            time.sleep(2)
            served, used, started = chain.status()["bytes"]["served"], chain.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            used, elapsed = chain.cpu_seconds() - used, time.monotonic() - started
            served = chain.status()["bytes"]["served"] - served
        finally:
            if reader is not None:
                reader.kill()
                reader.wait()
            chain.end()
            if holder is not None:
                os.close(holder)
        results.add(f"cpu {name}", 100 * used / elapsed)
        results.add(f"cpu served {name}", served / elapsed)


def measure_memory(chain, results):
    chain.fill_to(FILLED_BUFFER - MIB)
    capacity = chain.status()["buffer"]["capacity_bytes"]
    results.add("memory", (resident_bytes(chain.gateway.pid) - capacity) / MIB)


def verdict(value, target):
    if target is None:
        return "", ""
    limit, more_is_better = target
    met = value >= limit if more_is_better else value <= limit
    return f"{'>=' if more_is_better else '<='} {limit:g}", "PASS" if met else "MISS"


def spread(values, digits=2):
    return f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def rate(value):
    return f"{value / 1e9:.2f} GB/s" if value >= 1e9 else f"{value / 1e6:.1f} MB/s"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return lines


def report_reads(results, title, prefix=""):
    lines = ["", f"## {title}", ""]
    rows = []
    for readers in READERS:
        for block in BLOCKS:
            names = [(prefix + name, block, readers) for name in ("urandom", "floor", "gateway")]
            if names[2] not in results:
                continue
            ratios = results.ratios(names[2], names[0])
            # Time per read, the gateway's over the floor's: speeds the other way round.
            times = results.ratios(names[1], names[2])
            ratio, time_ratio = statistics.median(ratios), statistics.median(times)
            # The product's promises are for one reader and the settings that it comes with.
            promised = readers == 1 and not prefix
            target = TARGETS.get(("ratio", block)) if promised else None
            value = ratio
            if target is None and promised:
                target, value = TARGETS.get(("floor", block)), time_ratio
            limit, passed = verdict(value, target)
            if limit and value is time_ratio:
                limit += " of the floor's time"
            per_read = readers * block / results.median(names[2]) * 1e6
            rows.append([
                size_name(block), str(readers), *(rate(results.median(name)) for name in names),
                f"{per_read:.2f} us", f"{ratio:.2f} ({spread(ratios)})",
                f"{time_ratio:.2f} ({spread(times)})", limit, passed,
            ])
    lines += table(
        ["block", "readers", "urandom", "floor", "gateway", "a read", "gateway / urandom",
         "time / floor's time", "target", ""], rows)
    return lines


def report_generator(results):
    lines = ["", "## The gateway's urandom, 1 MiB reads", ""]
    rows = []
    for readers in READERS:
        own, kernel = ("generator", MIB, readers), ("generator urandom", MIB, readers)
        ratios, single = results.ratios(own, kernel), results.ratios(own, ("generator urandom", MIB, 1))
        limit, passed = verdict(statistics.median(ratios), TARGETS["generator", readers])
        rows.append([str(readers), rate(results.median(kernel)), rate(results.median(own)),
                     f"{statistics.median(ratios):.2f} ({spread(ratios)})",
                     f"{statistics.median(single):.2f} ({spread(single)})", limit, passed])
    return lines + table(["readers", "/dev/urandom", "gateway's urandom", "ratio, as many readers each",
                          "ratio to one reader of /dev/urandom", "target", ""], rows)


def report_rest(results):
    lines = ["", "## Whole chain, processor time, memory", ""]
    rows = []
    if "chain" in results:
        ratios = results.ratios("chain", "chain urandom")
        limit, passed = verdict(statistics.median(ratios), TARGETS["chain"])
        rows.append(["whole chain sustained, 1 MiB reads",
                     f"{rate(results.median('chain'))}; urandom {rate(results.median('chain urandom'))}",
                     f"{statistics.median(ratios):.2f} x urandom ({spread(ratios)})", limit, passed])
        losses = ", ".join(f"{name} {results.median('chain ' + name):.0f}"
                           for name in ("lost", "socket_drops", "overflow_discarded"))
        rows.append(["meanwhile at the gateway", losses, "", "", ""])
    for name, _ in RATES:
        key = f"cpu {name}"
        if key in results:
            limit, passed = verdict(results.median(key), TARGETS.get(key))
            rows.append([f"both daemons, {name}", f"served {rate(results.median('cpu served ' + name))}",
                         f"{results.median(key):.2f} % of a core ({spread(results.rounds[key])})",
                         limit, passed])
    if "memory" in results:
        limit, passed = verdict(results.median("memory"), TARGETS["memory"])
        rows.append([f"gateway's memory beyond its {FILLED_BUFFER // MIB} MiB buffer", "",
                     f"{results.median('memory'):.1f} MiB ({spread(results.rounds['memory'], 1)})",
                     limit, passed])
    return lines + table(["what", "figures", "result", "target", ""], rows)


def report_ways(results):
    def ratio(values):
        return f"{statistics.median(values):.2f} ({spread(values)})"

    lines = ["", "## Ways to read, from a filled buffer, one reader", ""]
    return lines + table(["way", "block", "/dev/urandom", "this way", "a read", "ratio"],
                         list(ways.rows(results, size_name, rate, ratio)))


def report_web(results):
    """The HTTP service beside nginx."""
    lines = ["", "## HTTP, 100 connections that are kept", ""]
    rows = []
    for size in web.SIZES:
        own, other = ("web", "service", size), ("web", "nginx", size)
        ratios = results.ratios(own, other)
        limit, passed = verdict(statistics.median(ratios), TARGETS["http"])
        rows.append([f"answers of {size_name(size)}",
                     f"{results.median(own):.0f}/s; nginx, static: {results.median(other):.0f}/s; none failed",
                     f"{statistics.median(ratios):.2f} x nginx ({spread(ratios)})", limit, passed])
    ratios = results.ratios("web p99 service", "web p99 alone")
    limit, passed = verdict(statistics.median(ratios), TARGETS["http p99"])
    figures = "; ".join(f"{name} {results.median('web p99 ' + key):.0f} us" for name, key in
                        [("alone", "alone"), ("beside nginx under that load", "nginx"), ("beside the service", "service")])
    rows.append(["p99 of a file reader, 4 KiB", figures, f"{statistics.median(ratios):.2f} x alone ({spread(ratios)})",
                 limit, passed])
    figures = "; ".join(f"{name} {results.median('web nap ' + key):.0f} us" for name, key in
                        [("alone", "alone"), ("beside nginx under that load", "nginx"), ("beside the service", "service")])
    rows.append(["p99 of a sleep of 10 us, of a process that asks nobody", figures, "", "", ""])
    limit, passed = verdict(results.median("web idle"), TARGETS["http idle"])
    rows.append([f"{web.IDLE} idle connections", "", f"{results.median('web idle'):.1f} MiB "
                 f"({spread(results.rounds['web idle'], 1)})", limit, passed])
    failed = max(results.rounds["web slow failed"])
    limit, passed = verdict(failed, TARGETS["http slow"])
    rows.append([f"{web.SLOW} requests that never end", f"memory then {results.median('web slow memory'):.1f} MiB",
                 f"{failed} of {web.ORDINARY} others failed", limit, passed])
    return lines + table(["what", "figures", "result", "target", ""], rows)


def report(results, rounds):
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        match = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
        model = match.group(1) if match else platform.machine()
    lines = [
        f"{os.cpu_count()} CPUs ({model}), Linux {platform.release()}; {rounds} interleaved rounds; "
        "medians, with the smallest and largest ratio in brackets."
    ]
    if ("gateway", MIB, 1) in results:
        lines += report_reads(results, "Reads from a filled buffer")
    asleep = ("asleep gateway", 32, 1) in results
    if asleep:
        lines += report_reads(results, 'Small reads, with stay-awake = "no"', "asleep ")
    if ("halt gateway", 32, 1) in results:
        lines += report_reads(results, "The same, with guest halt polling", "halt ")
    elif asleep:
        lines += ["", f"Guest halt polling was not tried: {HALT_POLL} can't be written here."]
    if ("generator", MIB, 1) in results:
        lines += report_generator(results)
    if "tuning as it is" in results:
        lines += report_tuning(results)
    if any(name in results for name in ("chain", "memory", *(f"cpu {name}" for name, _ in RATES))):
        lines += report_rest(results)
    if ("way", "FIFO", 32) in results:
        lines += report_ways(results)
    if "web idle" in results:
        lines += report_web(results)
    return "\n".join(lines)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", required=True, help="directory of the optimised programs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, small volumes: shows that it runs")
    parser.add_argument("--out", help="write the tables here too, as Markdown")
    parser.add_argument("--only", choices=PARTS, action="append",
                        help="measure this part alone (can be given several times)")
    return parser.parse_args()


def run(arguments):
    parts = arguments.only or PARTS
    rounds = 1 if arguments.quick else arguments.rounds
    scale = 0.1 if arguments.quick else 1.0
    results = Results()
    with World(arguments.programs) as world:
        unlimited = 'kind = "simulator"\nrate = "unlimited"'
        floor = world.floor() if {"reads", "asleep"} & set(parts) else None
        filled = chain = asleep = None
        if "asleep" in parts:
            asleep = Chain(world, "asleep", ASLEEP_BUFFER, unlimited, 'stay-awake = "no"\n')
            asleep.hold()
        if {"reads", "generator", "memory", "tuning"} & set(parts):
            filled = Chain(world, "filled", FILLED_BUFFER, unlimited)
            filled.hold()
        if {"chain", "tuning"} & set(parts):
            chain = Chain(world, "sustained", CHAIN_BUFFER, unlimited)
            chain.hold()
        served = web.Web(world) if "http" in parts else None
        read_by = ways.Ways(world) if "ways" in parts else None
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            if "reads" in parts:
                measure_reads(filled, floor, results, scale)
            if asleep is not None:
                measure_asleep(asleep, floor, results, scale)
            if "generator" in parts:
                measure_generator(filled, results, scale)
            if "chain" in parts:
                measure_chain(chain, results, scale)
            if "tuning" in parts:
                measure_tuning(chain, filled, results, scale)
            if read_by is not None:
                ways.measure(read_by, dd, results, scale)
            if served is not None:
                web.measure(served, results, 1 if arguments.quick else web.LOAD_S)
            if "memory" in parts:
                measure_memory(filled, results)
            if "cpu" in parts:
                measure_cpu(world, results, 3 if arguments.quick else CPU_SECONDS, number)
    text = report(results, rounds)
    # By themselves, with no daemon beside them.
    return "\n".join([text, *core_benches(scale)]) if "core" in parts else text


def main():
    arguments = parse_arguments()
    # As an exception, so that everything started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        text = run(arguments)
    except Trouble as trouble:
        print(f"bench: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(text)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
