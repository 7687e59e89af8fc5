"""The daemons, mounts and counters that a benchmark measures; all of it goes away at the end."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

MIB = 1 << 20
START_LIMIT_S = 30
END_LIMIT_S = 10


class Trouble(Exception):
    """A benchmark cannot go on; the words say why."""


HALT_POLL = "/sys/module/haltpoll/parameters/guest_halt_poll_ns"


@contextlib.contextmanager
def halt_polling(nanoseconds=200_000):
    """Has virtual processors look for work so long before they halt, as docs/operations.md advises; whether it can be."""
    try:
        with open(HALT_POLL, "r+", encoding="ascii") as file:
            before = file.read()
            file.seek(0)
            file.write(str(nanoseconds))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with open(HALT_POLL, "w", encoding="ascii") as file:
            file.write(before)


def mounts_at(point):
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        return sum(1 for line in table if line.split(" ")[4] == point)


def cpu_seconds(pid):
    """User and system time of all threads of a process.

    /proc/PID/task/*/schedstat counts nanoseconds; without it (a kernel option) the clock ticks of
    /proc/PID/stat must do, 10 ms each.
    """
    try:
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except OSError:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def with_children(pid):
    """The process and those that it started: a collector has its sender."""
    found = [pid]
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="utf-8") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry))
    return found


def threads_of(pid):
    """Numbers and names of a process's threads."""
    threads = []
    for number in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{number}/comm", encoding="utf-8") as file:
            threads.append((int(number), file.read().strip()))
    return threads


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        match = re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.MULTILINE)
    if not match:
        raise Trouble(f"no VmRSS of process {pid}")
    return int(match.group(1)) * 1024


class World:
    """A private directory and the processes started in it."""

    def __init__(self, programs):
        self.programs = programs
        self.stack = contextlib.ExitStack()
        self.directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="qrng-bench-"))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def program(self, name):
        path = os.path.join(self.programs, name)
        if not os.access(path, os.X_OK):
            raise Trouble(f"{path} is missing: cargo build --release --workspace")
        return path

    def start(self, name, arguments, log, environment=None):
        """Starts a program that ends with this world."""
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [self.program(name), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.stack.callback(end, process)
        return process

    def directory_for_mount(self, name):
        point = self.path(name)
        os.mkdir(point)
        self.stack.callback(unmount_left, point)
        return point

    def floor(self):
        """Stock fuser with a null file; the file's path."""
        point = self.directory_for_mount("floor")
        log = self.path("floor.log")
        process = self.start("qrng-bench-floor", [point], log)
        wait_for("the floor", lambda: mounts_at(point) > 0, [process], [log])
        return os.path.join(point, "null")


def end(process):
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def unmount_left(point):
    """Takes away what a killed process left mounted, so that the directory can be removed."""
    while mounts_at(point):
        command = ["umount", "-l", point] if os.geteuid() == 0 else ["fusermount3", "-uz", point]
        if subprocess.run(command, check=False).returncode != 0:
            return


def wait_for(what, condition, processes, logs, limit=START_LIMIT_S):
    deadline = time.monotonic() + limit
    while True:
        if condition():
            return
        dead = [process for process in processes if process.poll() is not None]
        if dead or time.monotonic() > deadline:
            why = f"ended with code {dead[0].returncode}" if dead else f"not there within {limit} s"
            words = "".join(tail(log) for log in logs)
            raise Trouble(f"{what}: {why}\n{words}")
        time.sleep(0.02)


def tail(log):
    with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
        return "".join(f"  {os.path.basename(log)}: {line}" for line in file.readlines()[-12:])
    return ""


def free_port():
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Chain:
    """A collector and a gateway on loopback, as `qrng demo` starts them."""

    def __init__(self, world, name, buffer_bytes, source, more=""):
        """`source` is the body of the collector's [source] section; `more` goes to the top of the gateway's."""
        self.world = world
        self.name = name
        base = world.path(name)
        for directory in ("", "gateway", "collector", "state"):
            os.mkdir(os.path.join(base, directory), 0o700)
        self.mount = world.directory_for_mount(f"{name}-mount")
        self.logs = [os.path.join(base, "gateway.log"), os.path.join(base, "collector.log")]
        subprocess.run(
            [world.program("qrng"), "keygen", "--out", base, "--name", "bench"],
            check=True, stdout=subprocess.DEVNULL,
        )
        # Under a new key nothing was ever accepted, so the restart bound may be now.
        with open(os.path.join(base, "gateway", "bound"), "wb") as file:
            file.write((time.time_ns() // 1000).to_bytes(8, "big"))
        port = free_port()
        quote = json.dumps
        self.gateway_config = os.path.join(base, "gateway.toml")
        with open(self.gateway_config, "w", encoding="utf-8") as file:
            file.write(
                f'listen = "127.0.0.1:{port}"\n'
                f'keys = [{quote(os.path.join(base, "bench.gateway.key"))}]\n'
                f"mount = {quote(self.mount)}\n"
                f'runtime-directory = {quote(os.path.join(base, "gateway"))}\n'
                f"accept-simulated = true\n{more}"
                f"[buffer]\nsize = {buffer_bytes}\n"
            )
        self.collector_config = os.path.join(base, "collector.toml")
        with open(self.collector_config, "w", encoding="utf-8") as file:
            file.write(
                f'state-directory = {quote(os.path.join(base, "state"))}\n'
                f'runtime-directory = {quote(os.path.join(base, "collector"))}\n'
                f"[source]\n{source}\n"
                f'[[gateway]]\nname = "bench"\naddress = "127.0.0.1:{port}"\n'
                f'key = {quote(os.path.join(base, "bench.collector.key"))}\n'
            )
        self.gateway = world.start("qrng-gateway", ["--config", self.gateway_config], self.logs[0])
        wait_for(f"gateway {name}", lambda: mounts_at(self.mount) > 0, [self.gateway], self.logs)
        self.collector = world.start(
            "qrng-collector", ["--config", self.collector_config], self.logs[1]
        )
        wait_for(
            f"chain {name}",
            lambda: self.status()["packets"]["announcements"] > 0,
            [self.gateway, self.collector],
            self.logs,
        )

    def file(self, name):
        return os.path.join(self.mount, name)

    def status(self):
        with open(self.file("status"), encoding="utf-8") as file:
            return json.load(file)

    def fill(self):
        return self.status()["buffer"]["fill_bytes"]

    def fill_to(self, wanted, limit=120):
        """Lets the collector run until so many bytes wait, then holds it."""
        self.resume()
        wait_for(
            f"{wanted} bytes in the buffer of {self.name}",
            lambda: self.fill() >= wanted, [self.gateway, self.collector], self.logs, limit,
        )
        self.hold()

    def hold(self):
        self.collector.send_signal(signal.SIGSTOP)

    def resume(self):
        self.collector.send_signal(signal.SIGCONT)

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in [self.gateway.pid, *with_children(self.collector.pid)])

    def end(self):
        end(self.collector)
        end(self.gateway)
