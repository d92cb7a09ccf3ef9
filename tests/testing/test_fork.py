"""os.fork in a process with a running server: the server stays the parent's, whatever the child does."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

import pyzkserver

from .helpers import PATIENCE, connected

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    # Python warns of fork in a process with threads, which is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def in_a_child(work: Callable[[], None]) -> int:
    """Do it in a forked child, and return its pid; it ends with 0 if nothing was raised."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(PATIENCE_OF_CHILD)
        work()
        status = 0
    except BaseException as error:
        print(f"in the child: {error!r}", file=sys.stderr)
    finally:
        os._exit(status)


PATIENCE_OF_CHILD = 30


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def word(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(b"ruok")
        return sock.recv(4)


def test_the_child_can_connect_and_no_more() -> None:
    """It knows where the server is; everything else says that it is not there."""
    with pyzkserver.Server(tree={"/a": b""}) as server:

        def work() -> None:
            assert server.hosts == f"127.0.0.1:{server.port}"
            assert word(server.port) == b"imok"
            assert not server.is_running
            for operation in (
                server.tree,
                server.reset,
                lambda: server.advance(1),
                lambda: server.run(print),
            ):
                with pytest.raises(RuntimeError, match=f"runs in process {os.getppid()}"):
                    operation()
            server.stop()
            assert word(server.port) == b"imok"

        assert status_of(in_a_child(work)) == 0
        assert word(server.port) == b"imok"
        assert server.tree() == {"/a": b""}


def test_leaving_the_with_statement_in_the_child() -> None:
    """It is the parent's server, and not stopped."""
    with pyzkserver.Server() as outer:
        server = pyzkserver.Server().start()

        def work() -> None:
            server.__exit__(None, None, None)
            outer.__exit__(None, None, None)

        assert status_of(in_a_child(work)) == 0
        assert word(server.port) == word(outer.port) == b"imok"
        server.stop()


def test_a_server_of_the_childs_own() -> None:
    """New ones can be started there, and also the one that was left behind."""
    with pyzkserver.Server(tree={"/a": b""}) as server:
        port = server.port

        def work() -> None:
            with pyzkserver.Server() as own, connected(own.hosts) as client:
                client.create("/own")
                with server:
                    assert server.port != port
                    assert server.tree() == {"/a": b""}
            assert word(port) == b"imok"

        assert status_of(in_a_child(work)) == 0
        assert server.tree() == {"/a": b""}


def test_clients_of_the_parent_do_not_notice() -> None:
    """The child holds none of their connections: not while it lives, and not when it ends by exit."""
    with Waiting() as waiting, pyzkserver.Server() as server, connected(server.hosts) as client:
        session = client.client_id
        idle = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        server.eventually(lambda: server.statistics()["connections"] == 2)
        child = waiting.start()
        client.create("/while-it-lives")
        # Aborted by the server: the client sees its end at once, although a copy of the socket was inherited.
        server.run(lambda: [each.abort() for each in server.running.service.connections if not each.session])
        assert idle.recv(1) == b""
        idle.close()
        waiting.end(child)
        client.create("/when-it-is-gone")
        assert client.client_id == session


EXIT = """
import os, sys
import pyzkserver
from kazoo.client import KazooClient
with pyzkserver.Server() as server:
    client = KazooClient(server.hosts)
    client.start(20)
    session = client.client_id
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    client.create("/a")
    assert client.client_id == session
    client.stop()
    client.close()
"""


def test_a_child_that_exits_as_programs_do() -> None:
    """Its interpreter is torn down, with all that it inherited of the server: in silence."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-X", "dev", "-c", EXIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Waiting:
    """What a child does that lives until it is told to end."""

    def __enter__(self) -> Self:
        self.to_child, self.to_parent = os.pipe(), os.pipe()
        return self

    def start(self) -> int:
        """Fork a child; returns its pid when it runs."""
        child = in_a_child(self._work)
        os.read(self.to_parent[0], 1)
        return child

    def _work(self) -> None:
        os.write(self.to_parent[1], b"x")
        os.read(self.to_child[0], 1)

    def end(self, child: int) -> None:
        """Let it end, as it should."""
        os.write(self.to_child[1], b"x")
        assert status_of(child) == 0

    def __exit__(self, *error: object) -> None:
        for end in (*self.to_child, *self.to_parent):
            os.close(end)


def test_the_port_is_free_when_the_server_is_left() -> None:
    """A child that lives longer does not keep it."""
    with Waiting() as waiting:
        with pyzkserver.Server() as server:
            port = server.port
            child = waiting.start()
        with pytest.raises(ConnectionRefusedError):
            word(port)
        with pyzkserver.Server(client_port=port):
            assert word(port) == b"imok"
        waiting.end(child)


def test_the_data_directory_is_free_when_the_server_is_left(tmp_path: Path) -> None:
    """Nor its lock."""
    with Waiting() as waiting:
        with pyzkserver.Server(data_dir=tmp_path, force_sync=False):
            child = waiting.start()
        with pyzkserver.Server(data_dir=tmp_path, force_sync=False) as server:
            assert word(server.port) == b"imok"
        waiting.end(child)


def _create(hosts: str, name: str) -> None:
    with connected(hosts) as client:
        client.create(name)


def test_multiprocessing_workers() -> None:
    """What most people fork for: workers that use the test's server."""
    context = multiprocessing.get_context("fork")
    with pyzkserver.Server() as server:
        workers = [context.Process(target=_create, args=(server.hosts, f"/{number}")) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(PATIENCE)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        server.assert_children("/", ["0", "1", "2", "zookeeper"])
