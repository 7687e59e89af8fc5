"""Reads 10,000 bytes of a file in the way that the first argument names, and writes them to standard output."""

import asyncio
import os
import select
import sys

COUNT = 10_000


def whole(descriptor, wait):
    """Reads without waiting in read(2), but in `wait`."""
    data = b""
    while len(data) < COUNT:
        wait()
        try:
            data += os.read(descriptor, min(4096, COUNT - len(data)))
        except BlockingIOError:
            pass
    return data


async def by_loop(descriptor):
    """Reads when the event loop says that it is readable."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    data = b""
    while len(data) < COUNT:
        await readable.wait()
        readable.clear()
        try:
            data += os.read(descriptor, min(4096, COUNT - len(data)))
        except BlockingIOError:
            pass
    loop.remove_reader(descriptor)
    return data


def main():
    way, path = sys.argv[1:]
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if way == "asyncio":
        data = asyncio.run(by_loop(descriptor))
    elif way == "poll":
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data = whole(descriptor, poll.poll)
    elif way == "epoll":
        epoll = select.epoll()
        epoll.register(descriptor, select.EPOLLIN)
        data = whole(descriptor, epoll.poll)
    else:
        sys.exit(f"unknown way: {way}")
    sys.stdout.buffer.write(data)


main()
