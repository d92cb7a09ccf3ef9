"""Nothing is left behind, and leaving is quick and quiet, whatever clients were doing."""

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

import pyzkserver
from pyzkserver.testing import ContentsError

from .helpers import PATIENCE, connected

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc here")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)


def traces() -> dict[str, Any]:
    """What a server could leave in a process."""
    gc.collect()
    return {
        "threads": set(threading.enumerate()),
        "descriptors": {name: target(name) for name in os.listdir("/proc/self/fd") if target(name)},
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "wakeup": signal.set_wakeup_fd(-1),
        "warnings": list(warnings.filters),
        "handlers": list(logging.getLogger("pyzkserver").handlers),
    }


def target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


@pytest.fixture
def nothing_left() -> Iterator[None]:
    with pyzkserver.Server():
        pass  # what is imported on first use may keep something
    before = traces()
    yield
    assert traces() == before


@pytest.mark.usefixtures("nothing_left")
def test_after_all_that_a_server_can_do(tmp_path: Path) -> None:
    """Contents, time, snapshots, faults, restarts, a data directory, clients that come and go."""
    with pyzkserver.Server(tree={"/a": b""}) as server, connected(server.hosts) as client:
        client.create("/e", ephemeral=True)
        client.get_children("/", watch=print)
        server.save(tmp_path / "dump.json")
        state = server.snapshot()
        server.advance(100)
        with server.faults.hold("create", "/held") as hold:
            client.create_async("/held")
            hold.wait_hit()
        server.restart()
        server.restore(state)
        server.reset()
    with pyzkserver.Server(tree=tmp_path / "dump.json", data_dir=None):
        pass
    with pyzkserver.Server(data_dir=tmp_path / "data") as server, connected(server.hosts) as client:
        client.create("/a")
    with pytest.raises(pyzkserver.PortUnavailable), pyzkserver.Server() as server:
        pyzkserver.Server(client_port=server.port).start()
    with pytest.raises(ContentsError):
        pyzkserver.Server(tree={"/a/..": b""}).start()


@pytest.mark.usefixtures("nothing_left")
def test_leaving_while_clients_are_connected(caplog: pytest.LogCaptureFixture) -> None:
    """Their connections end at once; the server has nothing to complain about, and waits for nobody."""
    clients: list[KazooClient] = []
    with pyzkserver.Server() as server:
        for _ in range(5):
            client = KazooClient(server.hosts)
            client.start(PATIENCE)
            client.get_children("/", watch=print)
            clients.append(client)
        # One that never says anything, one in the middle of its handshake, one that does not read its answers.
        silent = socket.create_connection(("127.0.0.1", server.port))
        halfway = socket.create_connection(("127.0.0.1", server.port))
        halfway.sendall(b"\0\0\0\x2d\0\0")
        server.put({"/large": b"x" * 1_000_000})
        deaf = deaf_reader(server.port)
        server.eventually(lambda: server.statistics()["connections"] == 8)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert [record for record in caplog.records if record.name.startswith("pyzkserver")] == []
    for sock in (silent, halfway):
        assert sock.recv(1) == b""
        sock.close()
    deaf.close()
    for client in clients:
        client.stop()
        client.close()


def deaf_reader(port: int) -> socket.socket:
    """A client that asks for megabytes, and reads none of them."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(
        bytes.fromhex("0000002d 00000000 0000000000000000 00002710 0000000000000000 00000010") + bytes(17)
    )
    get = (1).to_bytes(4) + (4).to_bytes(4) + (6).to_bytes(4) + b"/large" + b"\0"
    sock.sendall((len(get).to_bytes(4) + get) * 20)
    return sock


@pytest.mark.usefixtures("nothing_left")
def test_hundreds_side_by_side() -> None:
    """One thread and two descriptors each: what a system grants to a process by default is enough for 200."""
    before = len(os.listdir("/proc/self/fd"))  # other tests' reserved ports among them
    servers = [pyzkserver.Server().start() for _ in range(200)]
    try:
        assert len([thread for thread in threading.enumerate() if thread.name == "pyzkserver"]) == 1
        assert len(os.listdir("/proc/self/fd")) - before < 2 * 200 + 20
        for number, server in enumerate(servers):
            server.put({f"/{number}": b""})
        for number, server in enumerate(servers):
            assert list(server.tree()) == [f"/{number}"]
    finally:
        for server in servers:
            server.stop()


def test_a_program_that_forgets_to_stop_it_ends() -> None:
    """Its thread does not keep the interpreter, which ends in silence."""
    code = "import pyzkserver; server = pyzkserver.Server().start(); print(server.hosts)"
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("127.0.0.1:")
