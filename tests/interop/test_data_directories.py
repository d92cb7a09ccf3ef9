"""One data directory, two servers in turn: each goes on where the other stopped, with everything there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from serving.talk import Reply, create, hello, packets, read_answer, set_data

import pyzkserver
from pyzkserver.storage.logfile import read_entries

from .apache import SUPER_DIGEST
from .conversation import Address
from .test_files import (
    LONG,
    Shown,
    apache_on,
    classpath,
    client_of,
    java,
    mismatches,
    shown_by,
    tool_output,
    write_everything,
)
from .test_kill import ServerProcess, Wire

pytestmark = pytest.mark.interop

__all__ = ["classpath"]

SNAP_COUNT = 40
METHODS = ("", "", "gz", "gz", "", "gz")
"""How snapshots are compressed, turn by turn: either server reads either from the other."""


@contextmanager
def ours_on(folder: Path, method: str) -> Iterator[Address]:
    """Our server on a directory."""
    server = pyzkserver.Server(
        data_dir=folder / "data",
        snap_count=SNAP_COUNT,
        snapshot_compression_method=method,
        pre_alloc_size=100,
        super_digest=SUPER_DIGEST,
        max_session_timeout=LONG,
    )
    with server:
        yield "127.0.0.1", server.port
        assert server.running.replica.tree.last_zxid > 0


@contextmanager
def theirs_on(folder: Path, method: str, classpath: str) -> Iterator[Address]:
    """Apache's server on a directory."""
    settings = {
        "zookeeper.snapCount": str(SNAP_COUNT),
        "zookeeper.snapshot.compression.method": method,
        "zookeeper.forceSync": "yes",
    }
    with apache_on(folder, classpath, **settings) as address:
        yield address


def work(address: Address, client: KazooClient, turn: int, folder: Path) -> None:
    """Everything that can be written, and more until two snapshots were taken meanwhile.

    When a server takes them is its own affair: both do it beside the writes, and leave out some on a busy machine.
    """
    before = snapshots(folder)
    write_everything(address, client, turn)
    top = f"/round-{turn}"
    number = 0
    while number < 2 * SNAP_COUNT or len(snapshots(folder) - before) < 2:
        client.create(f"{top}/many-{number}", b"x" * (number % 100))
        client.set(top, str(number).encode())
        if number % 3 == 0:
            client.delete(f"{top}/many-{number // 3}")
        number += 1


def snapshots(folder: Path) -> set[str]:
    return {path.name for path in (folder / "data" / "version-2").glob("snapshot.*")}


@pytest.mark.parametrize("first", ["ours", "Apache's"])
def test_in_turn(tmp_path: Path, classpath: str, first: str) -> None:
    """Three times each: every node, stat and ACL is there, and the session with its ephemeral nodes.

    The session was begun on the first server and is resumed on every other, by its id and password.  The
    digests are compared on both sides: each transaction's by whoever replays it.
    """
    shown: dict[str, Shown] = {}
    session: tuple[int, bytes] | None = None
    for turn, method in enumerate(METHODS):
        is_ours = (turn % 2 == 0) == (first == "ours")
        before = snapshots(tmp_path) if turn else set()
        with ExitStack() as left, ExitStack() as stopped:
            on = ours_on(tmp_path, method) if is_ours else theirs_on(tmp_path, method, classpath)
            address = stopped.enter_context(on)
            client = left.enter_context(client_of(address, client_id=session))
            assert session in (None, client.client_id)
            session = client.client_id
            if turn:
                assert shown_by(client) == shown
                client.set(f"/round-{turn - 1}/multi", b"still mine")
            work(address, client, turn, tmp_path)
            shown = shown_by(client)
            if not is_ours:
                assert mismatches(address) == 0
            stopped.close()  # before the client, so that the session is not closed
        taken = snapshots(tmp_path) - before
        assert all(name.endswith(".gz") == (method == "gz") for name in taken)
    with ours_on(tmp_path, method) as address, client_of(address, client_id=session) as client:
        assert client.client_id == session
        assert shown_by(client) == shown
    with ours_on(tmp_path, method) as address, client_of(address) as client:
        # That session was closed in an orderly way.
        left_over = {path for path, node in shown.items() if node.stat[7]}
        kinds = {path.rpartition("/")[2].rstrip("0123456789") for path in left_over - shown_by(client).keys()}
        assert kinds == {"multi", "seq-"}


def test_our_digests_are_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The other direction of ``mismatches``: a start on our own directory finds none, either."""
    caplog.set_level("ERROR", "pyzkserver.storage")
    for turn in range(2):
        with ours_on(tmp_path, "") as address, client_of(address) as client:
            work(address, client, turn, tmp_path)
    with ours_on(tmp_path, ""):
        pass
    assert caplog.messages == []


def test_digests_are_written_once_a_flush(tmp_path: Path, classpath: str) -> None:
    """Of what is flushed together only the last transaction has a digest; Apache's server and tools take that.

    A process of its own: servers of ``pyzkserver.testing`` take no quick writes.
    """
    (tmp_path / "zoo.cfg").write_text(f"dataDir={tmp_path}/data\nclientPort=0\nclientPortAddress=127.0.0.1\n")
    server = ServerProcess(tmp_path)
    try:
        port = server.port()
        with client_of(("127.0.0.1", port)) as client:
            client.create("/top", b"")
            wire = Wire(port)
            wire.send(hello(LONG))
            wire.read_frame()
            for number in range(5):
                calls = [create(f"/top/{number}-{at}", b"x" * at) for at in range(60)]
                calls += [set_data("/top", b"%d" % at) for at in range(60)]
                wire.send(packets(calls))
                for _ in calls:
                    answer = read_answer(wire.read_frame())
                    assert isinstance(answer, Reply)
                    assert answer.err == 0
            wire.close()
            shown = shown_by(client)
            server.kill()  # before the client, so that its session is not closed
    finally:
        server.process.kill()
    (log,) = (tmp_path / "data" / "version-2").glob("log.*")
    entries = list(read_entries([log.read_bytes()]))
    missing = sum(entry.digest is None for entry in entries)
    assert missing > 500
    assert len(entries) - missing > 5
    told = tool_output(java(classpath, {}, "org.apache.zookeeper.server.persistence.TxnLogToolkit", str(log)))
    assert f"EOF reached after {len(entries)} txns." in told
    with theirs_on(tmp_path, "", classpath) as address, client_of(address) as client:
        assert shown_by(client) == shown
        assert mismatches(address) == 0
