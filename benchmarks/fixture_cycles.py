"""The measurements of fixture.py that are done in a process of their own: a function's name, and how often."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import frames
from client import Client

import pyzkserver


def test(port: int) -> None:
    """A session, a node, its data."""
    with Client(port) as client:
        client.call(frames.CREATE, frames.create_body("/test", b"data"))
        client.call(frames.GET_DATA, frames.get_body("/test"))


def cycle() -> list[float]:
    """Milliseconds until it was entered, had answered, and was left."""
    begun = time.perf_counter()
    with pyzkserver.Server() as server:
        entered = time.perf_counter()
        test(server.port)
        tested = time.perf_counter()
    left = time.perf_counter()
    return [(moment - begun) * 1e3 for moment in (entered, tested, left)]


def cycles(count: int) -> list[list[float]]:
    """Of one server after the other."""
    return [cycle() for _ in range(count)]


def thousand(count: int) -> list[float]:
    """Seconds of so many, with and without what the client takes."""
    pyzkserver.Server().start().stop()
    begun = time.perf_counter()
    found = cycles(count)
    client = sum(tested - entered for entered, tested, _ in found) / 1e3
    total = time.perf_counter() - begun
    return [total, total - client]


def kazoo(count: int) -> list[list[float]]:
    """Milliseconds until it was entered, and until kazoo's client had an answer."""
    from kazoo.client import KazooClient

    found = []
    for _ in range(count):
        begun = time.perf_counter()
        with pyzkserver.Server() as server:
            entered = time.perf_counter()
            client = KazooClient(server.hosts)
            client.start()
            client.exists("/")
            found.append([(moment - begun) * 1e3 for moment in (entered, time.perf_counter())])
            client.stop()
            client.close()
    return found


def requests(count: int) -> list[float]:
    """Microseconds that each of so many gets of kazoo's took, one after the other, in the server's process."""
    from kazoo.client import KazooClient

    times = []
    with pyzkserver.Server(tree={"/a": b"x" * 128}) as server:
        client = KazooClient(server.hosts)
        client.start()
        for _ in range(count):
            begun = time.perf_counter()
            client.get("/a")
            times.append((time.perf_counter() - begun) * 1e6)
        client.stop()
        client.close()
    return times


def recording(count: int) -> list[float]:
    """Microseconds of processor time that recording adds to a get, of blocks that are recorded and not, in turn."""
    block = [(frames.GET_DATA, frames.get_body("/a"))] * 2000
    found = []
    with pyzkserver.Server(tree={"/a": b"x" * 128}) as server, Client(server.port) as client:
        for _ in range(count):
            used = []
            for server.recording.on in (True, False):
                begun = time.process_time()
                client.call_many(block)
                used.append((time.process_time() - begun) / len(block) * 1e6)
            found.append(used[0] - used[1])
    return found


def reset(count: int) -> list[tuple[str, list[float]]]:
    """Milliseconds that a reset takes, by what has happened before."""
    names = [f"/top/node{number:04}" for number in range(999)]
    found: list[tuple[str, list[float]]] = []
    with pyzkserver.Server(tree=dict.fromkeys(names, b"x" * 100)) as server:
        changes: dict[str, dict[str, bytes]] = {
            "none changed": {},
            "all changed": dict.fromkeys(names, b"y" * 100),
            "as many added": {f"/other/node{number:04}": b"z" * 100 for number in range(999)},
        }
        for what, change in changes.items():
            times = []
            for _ in range(count):
                server.put(change)
                begun = time.perf_counter()
                server.reset()
                times.append((time.perf_counter() - begun) * 1e3)
            found.append((what, times))
    with pyzkserver.Server() as server:
        times = []
        for _ in range(count):
            server.put(dict.fromkeys(names, b"x" * 100))
            begun = time.perf_counter()
            server.reset()
            times.append((time.perf_counter() - begun) * 1e3)
        found.append(("1,000 made in an empty server", times))
    return found


def together(count: int) -> list[float]:
    """Seconds, threads, descriptors, and resident kilobytes of so many side by side."""
    pyzkserver.Server().start().stop()
    begun = time.perf_counter()
    servers = [pyzkserver.Server().start() for _ in range(count)]
    for server in servers:
        test(server.port)
    seconds = time.perf_counter() - begun
    status = Path("/proc/self/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    found = [seconds, threading.active_count(), len(os.listdir("/proc/self/fd")) - 1, resident]
    for server in servers:
        server.stop()
    return found


MEASUREMENTS: dict[str, Callable[[int], object]] = {
    each.__name__: each for each in (cycles, thousand, kazoo, requests, recording, reset, together)
}

if __name__ == "__main__":
    print(json.dumps(MEASUREMENTS[sys.argv[1]](int(sys.argv[2]))))
