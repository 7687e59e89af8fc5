"""The HTTP service beside nginx, which gives a static answer of the same size, with the same load on loopback.

The service has everything on: keys, rates, counters, limits. wrk has 100 connections that it keeps. The gateway's buffer was
filled before, and its collector stands still: what is measured is the service, not the link.
"""

import contextlib
import json
import os
import re
import resource
import socket
import subprocess
import threading
import time

from world import MIB, Chain, Trouble, end, resident_bytes, wait_for

SIZES = [32, 1024]
CONNECTIONS = 100
# Seconds of one load; at 1 KiB an answer the buffer lasts for it.
LOAD_S = 4
BUFFER = 512 * MIB
READ_BYTES = 4096
IDLE = 1000
SLOW = 10_000
# Requests that an ordinary client makes while the slow ones are there.
ORDINARY = 200

NGINX = """daemon off;
pid {pid};
error_log stderr;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    client_body_temp_path {base}/body; proxy_temp_path {base}/proxy; fastcgi_temp_path {base}/fastcgi;
    uwsgi_temp_path {base}/uwsgi; scgi_temp_path {base}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {answers}
    }}
}}
"""


def free_tcp_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Web:
    """A gateway with a filled buffer, the HTTP service in front of it, and nginx."""

    def __init__(self, world):
        self.world = world
        self.chain = Chain(world, "web", BUFFER, 'kind = "simulator"\nrate = "unlimited"')
        self.port, self.nginx_port = free_tcp_port(), free_tcp_port()
        base = world.path("web")
        self.start_service(base)
        self.start_nginx(base)

    def start_service(self, base):
        self.key = os.urandom(32).hex()
        config, log = os.path.join(base, "http.toml"), os.path.join(base, "http.log")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f"mount = {json.dumps(self.chain.mount)}\n"
                f'socket = ""\nlisten = ["127.0.0.1:{self.port}"]\n'
                "[rate]\nper-second = 1000000\nburst = 1000000\n"
                # Idle connections are to stay while they are measured.
                '[limits]\nheader-time = "1 min"\n'
            )
        environment = {"QRNG_API_KEYS": self.key}
        self.service = self.world.start("qrng-http", ["--config", config], log, environment)
        wait_for("the HTTP service", lambda: answers(self.port), [self.service], [log])

    def start_nginx(self, base):
        config, log = os.path.join(base, "nginx.conf"), os.path.join(base, "nginx.log")
        bodies = "\n".join(f'location = /{size} {{ return 200 "{"x" * size}"; }}' for size in SIZES)
        with open(config, "w", encoding="utf-8") as file:
            file.write(NGINX.format(pid=os.path.join(base, "nginx.pid"), base=base, port=self.nginx_port,
                                    workers=os.cpu_count(), answers=bodies))
        with open(log, "ab") as output:
            process = subprocess.Popen(["nginx", "-c", config], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.world.stack.callback(end, process)
        wait_for("nginx", lambda: answers(self.nginx_port), [process], [log])

    def url(self, subject, size):
        if subject == "nginx":
            return f"http://127.0.0.1:{self.nginx_port}/{size}"
        return f"http://127.0.0.1:{self.port}/api/random?bytes={size}&encoding=binary"

    def load(self, subject, size, seconds):
        """Requests a second; whatever is not answered as asked is an error."""
        command = ["wrk", "-t2", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Authorization: Bearer {self.key}",
                   self.url(subject, size)]
        words = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        speed = re.search(r"^Requests/sec:\s+([0-9.]+)", words, re.MULTILINE)
        if not speed or "Non-2xx" in words or "Socket errors" in words:
            raise Trouble(f"{subject}, {size} B: not every request was answered\n{words}")
        return float(speed.group(1))

    def request(self, path):
        """The request of an ordinary client, on a connection that it keeps."""
        return (f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n\r\n").encode()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def p99(once, seconds):
    """The time that one call in a hundred takes longer than, in microseconds."""
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter_ns()
        once()
        times.append(time.perf_counter_ns() - begun)
        # Whoever never rests would measure the processor's share alone.
        time.sleep(0.0005)
    times.sort()
    return times[len(times) * 99 // 100] / 1000


def measure_latency(path, results, beside, seconds):
    """A reader of 4 KiB; and a process that asks nobody, but sleeps as briefly as it can and so waits for a processor alone."""
    with open(path, "rb", buffering=0) as file:
        def read():
            if not file.read(READ_BYTES):
                raise Trouble(f"{path} ended")

        results.add(f"web p99 {beside}", p99(read, seconds))
    results.add(f"web nap {beside}", p99(lambda: time.sleep(0.00001), seconds))


def measure_load(web, results, seconds):
    for size in SIZES:
        web.chain.fill_to(BUFFER - MIB)
        for subject in ("nginx", "service"):
            results.add(("web", subject, size), web.load(subject, size, seconds))


def measure_readers(web, results, seconds):
    """A reader of files alone, beside nginx under load, and beside the service under the same load."""
    web.chain.fill_to(BUFFER - MIB)
    path = web.chain.file("raw")
    measure_latency(path, results, "alone", seconds)
    for subject in ("nginx", "service"):
        trouble = []

        def load(subject=subject, trouble=trouble):
            try:
                web.load(subject, 32, 2 * seconds + 1)
            except (Trouble, OSError, subprocess.SubprocessError) as error:
                trouble.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        time.sleep(0.5)
        measure_latency(path, results, subject, seconds)
        thread.join()
        if trouble:
            raise Trouble(str(trouble[0]))


def measure_idle(web, results):
    """Memory that a thousand connections cost which have asked once and are then idle."""
    before = resident_bytes(web.service.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            stream = stack.enter_context(web.connect())
            stream.sendall(web.request("/health"))
            if not stream.recv(65536):
                raise Trouble("an idle connection was not answered")
        results.add("web idle", (resident_bytes(web.service.pid) - before) / MIB)


def measure_slow(web, results):
    """Connections that never finish their request; and how many requests of an ordinary client fail meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SLOW + 200:
        raise Trouble(f"{SLOW} connections need a limit of open files above them; it is {hard}: raise it with ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, SLOW + 200), hard))
    failed = 0
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW):
            stream = stack.enter_context(web.connect())
            # The service may have cut it to make room.
            with contextlib.suppress(OSError):
                stream.sendall(b"GET /api/random HTTP/1.1\r\nHost: ")
        for _ in range(ORDINARY):
            try:
                with web.connect() as stream:
                    stream.sendall(web.request("/api/random?bytes=32"))
                    failed += not stream.recv(65536).startswith(b"HTTP/1.1 200")
            except OSError:
                failed += 1
        results.add("web slow memory", resident_bytes(web.service.pid) / MIB)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    results.add("web slow failed", failed)


def measure(web, results, seconds):
    measure_load(web, results, seconds)
    measure_readers(web, results, seconds)
    measure_idle(web, results)
    web.chain.fill_to(MIB)
    measure_slow(web, results)
