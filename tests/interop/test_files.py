"""Data directories: Apache's server and its tools read the files that ours writes, and ours what Apache writes."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.security import make_acl
from storage.histories import History, appearance, apply, pieces

from pyzkserver.state.sessions import session_password
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.logfile import (
    encode_transaction,
    file_header,
    frame_entry,
    log_name,
    read_entries,
    zxid_of,
)
from pyzkserver.wire.requests import OpCode

from . import calls
from .apache import (
    PLAIN,
    QUIET_JVM,
    RELEASES,
    SUPER_CREDENTIALS,
    Flavor,
    Housekeeper,
    answers,
    child,
    debian_classpath,
    free_port,
    newer_classpath,
    zoo_cfg,
)
from .conversation import Address

pytestmark = pytest.mark.interop

EXTENDED = {"zookeeper.extendedTypesEnabled": "true"}
LONG = 600_000  # ms: no session may expire while a test looks at it


@pytest.fixture(params=RELEASES)
def classpath(request: pytest.FixtureRequest) -> str:
    return debian_classpath() if request.param == "3.8" else newer_classpath()


# --- Apache's side ------------------------------------------------------------------------------------------


def java(classpath: str, properties: Mapping[str, str], *words: str) -> list[str]:
    return [
        "java",
        *QUIET_JVM,
        *(f"-D{key}={value}" for key, value in properties.items()),
        "-cp",
        classpath,
        *words,
    ]


@contextmanager
def apache_on(folder: Path, classpath: str, **more: str) -> Iterator[Address]:
    """Apache's server on a directory; it is killed when this is left."""
    properties = {
        "zookeeper.forceSync": "no",
        "zookeeper.preAllocSize": "100",
        "znode.container.checkIntervalMs": "86400000",
        **PLAIN,
        **EXTENDED,
        **more,
    }
    address = ("127.0.0.1", free_port())
    config = zoo_cfg(folder, address[1], Flavor(config={"maxSessionTimeout": str(LONG)}))
    words = ("org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config))
    with child(java(classpath, properties, *words), folder / "log") as process:
        until = time.monotonic() + 60
        while not answers(address):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Apache's server did not start:\n{(folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)
        yield address


def mismatches(address: Address) -> int:
    """How often Apache found a digest that was not as the log or the snapshot said."""
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(b"mntr")
        answer = sock.makefile("rb").read().decode()
    found = re.search(r"zk_digest_mismatches_count\t(\d+)", answer)
    assert found is not None
    return int(found[1])


@contextmanager
def client_of(address: Address, **how: Any) -> Iterator[KazooClient]:
    auth = [("digest", SUPER_CREDENTIALS.decode())]
    client = KazooClient(f"{address[0]}:{address[1]}", auth_data=auth, timeout=30, **how)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


class Shown(NamedTuple):
    """What clients are told about a node."""

    data: bytes | None
    stat: tuple[int, ...]
    acl: list[tuple[int, str, str]]
    children: set[str]


def shown_by(client: KazooClient) -> dict[str, Shown]:
    """Everything that a server shows."""
    shown: dict[str, Shown] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        data, stat = client.get(path)
        acl, _ = client.get_acls(path)
        children = client.get_children(path)
        entries = [(entry.perms, entry.id.scheme, entry.id.id) for entry in acl]
        shown[path] = Shown(data, tuple(stat), entries, set(children))
        waiting += [f"{path.rstrip('/')}/{name}" for name in children]
    return shown


def held_by(tree: DataTree) -> dict[str, Shown]:
    """Everything that a tree of ours would show."""
    shown = {}
    for path, node in tree.nodes.items():
        if path:
            stat = node.stat()
            numbers = tuple(getattr(stat, name) for name in stat.fields)
            entries = [(entry.perms, entry.id.scheme or "", entry.id.id or "") for entry in node.acl]
            shown[path] = Shown(node.data, numbers, entries, set(node.children or ()))
    return shown


# --- our side -----------------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A history, and the snapshot that was taken in the middle of it."""

    history: History
    began: int
    snapshot: bytes


def recorded(seed: int, compression: str = "") -> Recorded:
    history = History(seed, shortest_timeout=LONG)
    history.run(150)
    began = history.tree.last_zxid
    chunks = []
    for chunk in snapfile.write(history.tree, history.sessions, compression=compression, chunk_bytes=1):
        chunks.append(chunk)
        history.run(5)
    history.run(100)
    return Recorded(history, began, b"".join(chunks))


def log_of(history: History, off_by: int = 0) -> bytes:
    entries = [
        frame_entry(encode_transaction(txn, digest + off_by))
        for txn, digest in zip(history.txns, history.digests, strict=True)
    ]
    return file_header() + b"".join(entries) + bytes(5000)


def put_down(folder: Path, snapshot_name: str, snapshot: bytes, log_name: str, log: bytes) -> None:
    directory = folder / "data" / "version-2"
    directory.mkdir(parents=True)
    (directory / snapshot_name).write_bytes(snapshot)
    (directory / log_name).write_bytes(log)


def failed(txn: Transaction) -> bool:
    """Whether it is a multi that failed: Apache logs more of that than is ever applied."""
    return isinstance(txn.body, MultiBody) and any(op == OpCode.ERROR for op, _ in txn.body.ops)


class Held(NamedTuple):
    """What the files of a directory make."""

    tree: DataTree
    sessions: dict[int, int]
    compared: int
    """How many digests were compared; all were as they should be."""


def read_back(folder: Path, *, snapshot: Callable[[list[int]], int] = max) -> Held:
    """A small recovery; it begins with the newest snapshot, or another."""
    directory = folder / "data" / "version-2"
    files = {path: zxid_of(path.name) for path in directory.iterdir()}
    snapshots = {zxid: path for path, zxid in files.items() if zxid is not None and path.name[0] == "s"}
    logs = sorted((zxid, path) for path, zxid in files.items() if zxid is not None and path.name[0] == "l")
    began = snapshot(list(snapshots))
    tree = DataTree(extended_types=True)
    data = snapshots[began].read_bytes()
    assert snapfile.is_whole(snapshots[began].name, data[:8], data[-10:])
    found = snapfile.read(pieces(data, 10_000), tree, snapshots[began].name)
    assert found.unknown_acls == {}
    tree.last_zxid, sessions, compared = began, dict(found.sessions), 0
    certain_from = found.digest.zxid if found.digest is not None else began
    for _, path in logs:
        for entry in read_entries(pieces(path.read_bytes(), 10_000)):
            if entry.txn.zxid <= began:
                continue
            if not failed(entry.txn):
                assert (
                    encode_transaction(entry.txn, entry.digest[1] if entry.digest else None) == entry.payload
                )
            apply(entry.txn, tree, sessions)
            if entry.digest is not None and entry.txn.zxid >= certain_from:
                assert entry.digest == (2, tree.digest.value()), hex(entry.txn.zxid)
                compared += 1
    return Held(tree, sessions, compared)


# --- what ours wrote ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "gz", "snappy"])
def test_apache_starts_on_our_files(tmp_path: Path, classpath: str, compression: str) -> None:
    if compression == "snappy":
        pytest.importorskip("cramjam")
    history, began, snapshot = recorded(1, compression)
    name = f"snapshot.{began:x}" + (f".{compression}" if compression else "")
    put_down(tmp_path, name, snapshot, log_name(history.txns[0].zxid), log_of(history))
    with apache_on(tmp_path, classpath) as address:
        with client_of(address) as client:
            assert shown_by(client) == held_by(history.tree)
        assert mismatches(address) == 0
        for session_id in list(history.sessions)[:3]:
            proof = (session_id, session_password(session_id))
            with client_of(address, client_id=proof) as client:
                assert client.client_id == proof
                assert set(client.get_children("/")) == set(history.tree.nodes["/"].children or ())


def test_apache_does_compare_the_digests(tmp_path: Path, classpath: str) -> None:
    history, began, snapshot = recorded(2)
    log = log_of(history, off_by=1)
    put_down(tmp_path, f"snapshot.{began:x}", snapshot, log_name(history.txns[0].zxid), log)
    with apache_on(tmp_path, classpath) as address:
        assert mismatches(address) > 0


def test_apaches_log_tool_takes_our_log(tmp_path: Path, classpath: str) -> None:
    history = recorded(3).history
    (tmp_path / "log.1").write_bytes(log_of(history))
    tool = "org.apache.zookeeper.server.persistence.TxnLogToolkit"
    told = tool_output(java(classpath, EXTENDED, tool, str(tmp_path / "log.1")))
    assert f"EOF reached after {len(history.txns)} txns." in told
    assert "CRC" not in told
    zxids = [int(zxid, 16) for zxid in re.findall(r"session 0x\w+ cxid 0x\w+ zxid 0x(\w+) ", told)]
    assert zxids == [txn.zxid for txn in history.txns]


def test_apaches_snapshot_tool_takes_our_snapshot(tmp_path: Path, classpath: str) -> None:
    history = History(4)
    history.run(200)
    file = tmp_path / f"snapshot.{history.zxid:x}"
    file.write_bytes(b"".join(snapfile.write(history.tree, history.sessions)))
    tool = "org.apache.zookeeper.server.SnapshotFormatter"
    told = tool_output(java(classpath, EXTENDED, tool, str(file)))
    assert f"ZNode Details (count={len(history.tree.nodes)})" in told
    czxids = re.findall(r"^(/.*)\n  cZxid = 0x(\w+)", told, re.MULTILINE)
    expected = {path: node.czxid for path, node in history.tree.nodes.items() if path}
    assert {path: int(czxid, 16) for path, czxid in czxids} == expected
    sessions = re.findall(r"^0x(\w+), (\d+), (\d+)$", told, re.MULTILINE)
    counts = {session_id: len(history.tree.ephemerals.get(session_id, ())) for session_id in history.sessions}
    assert {(int(session_id, 16), int(timeout), int(count)) for session_id, timeout, count in sessions} == {
        (session_id % (1 << 64), history.sessions[session_id], count) for session_id, count in counts.items()
    }


def tool_output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


# --- what Apache wrote --------------------------------------------------------------------------------------


def write_everything(address: Address, client: KazooClient, round_number: int) -> None:
    """Every kind of transaction that a client can cause."""
    top = f"/round-{round_number}"
    ann = make_acl("digest", "ann:hash", all=True)
    client.create(top, b"x" * 1000)
    client.create(f"{top}/é中", b"")
    client.create(f"{top}/null", acl=[ann])
    client.create(f"{top}/seq-", b"s", sequence=True)
    client.create(f"{top}/seq-", b"s", sequence=True, ephemeral=True)
    client.set(f"{top}/null", b"set")
    client.set_acls(top, [ann, make_acl("world", "anyone", read=True)])
    client.create(f"{top}/gone", b"")
    client.delete(f"{top}/gone")
    with pytest.raises(NoNodeError):
        client.delete(f"{top}/gone")
    done = client.transaction()
    done.create(f"{top}/multi", b"m", ephemeral=True)
    done.set_data(top, b"multi")
    done.check(top, 1)
    done.delete(f"{top}/null")
    assert not any(isinstance(result, Exception) for result in done.commit())
    failed = client.transaction()
    failed.create(f"{top}/never", b"")
    failed.delete(f"{top}/gone")
    assert all(isinstance(result, Exception) for result in failed.commit())
    quota = f"/zookeeper/quota{top}"
    client.create(quota, b"")
    client.create(f"{quota}/zookeeper_limits", b"count=100,bytes=100000")
    client.create(f"{quota}/zookeeper_stats", b"count=0,bytes=0")
    client.create(f"{top}/counted", b"12345")
    keeper = Housekeeper(address)  # for what kazoo has no words
    for name, call in (("container", calls.create_container), ("ttl", calls.create_ttl)):
        assert keeper.ask(call(f"{top}/{name}"))[12:16] == bytes(4)
    keeper.close()


@pytest.mark.parametrize("compression", ["", "gz", "snappy"])
def test_ours_reads_what_apache_wrote(tmp_path: Path, classpath: str, compression: str) -> None:
    if compression == "snappy":
        pytest.importorskip("cramjam")
    method = {"zookeeper.snapshot.compression.method": compression}
    with ExitStack() as left, ExitStack() as killed:
        address = killed.enter_context(apache_on(tmp_path, classpath, **method))
        with client_of(address) as client:
            client.create("/before", b"")
            client.create("/before/closed", b"", ephemeral=True)
        client = left.enter_context(client_of(address))
        write_everything(address, client, 1)
        shown, session = shown_by(client), client.client_id[0]
        killed.close()  # before the client, so that the session is not closed
    from_log = read_back(tmp_path)
    assert held_by(from_log.tree) == shown
    assert from_log.sessions == {session: 30_000}
    assert from_log.compared > 20
    with apache_on(tmp_path, classpath, **method):
        pass  # it begins with a snapshot
    from_snapshot = read_back(tmp_path)
    assert appearance(from_snapshot.tree) == appearance(from_log.tree)
    assert from_snapshot.sessions == from_log.sessions
    again = read_back(tmp_path, snapshot=min)
    assert appearance(again.tree) == appearance(from_log.tree)
    assert again.compared == from_log.compared


def test_back_and_forth(tmp_path: Path, classpath: str) -> None:
    """Ours, Apache, ours, Apache …: each goes on where the other stopped."""
    folder = tmp_path / "0"
    history, began, snapshot = recorded(5)
    put_down(folder, f"snapshot.{began:x}", snapshot, log_name(history.txns[0].zxid), log_of(history))
    for round_number in (1, 2):
        held = read_back(folder)
        with ExitStack() as left, ExitStack() as killed:
            address = killed.enter_context(apache_on(folder, classpath))
            client = left.enter_context(client_of(address))
            assert shown_by(client) == held_by(held.tree)
            write_everything(address, client, round_number)
            shown = shown_by(client)
            assert mismatches(address) == 0
            killed.close()
        held = read_back(folder)
        assert held_by(held.tree) == shown
        folder = tmp_path / str(round_number)
        snapshot = b"".join(snapfile.write(held.tree, held.sessions))
        zxid = held.tree.last_zxid
        put_down(folder, f"snapshot.{zxid:x}", snapshot, log_name(zxid + 1), file_header())
