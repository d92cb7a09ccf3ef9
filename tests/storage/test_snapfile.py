"""Snapshots: a tree there and back, whatever happens to it meanwhile, and what is said of every damage."""

import gc
import gzip
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from struct import pack
from typing import Any
from zlib import adler32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.state.acl import OPEN_ACL, Acl
from pyzkserver.state.digest import node_digest
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.damage import SnapshotDamaged
from pyzkserver.storage.logfile import decode_transaction, encode_transaction
from pyzkserver.storage.snapcodec import CompressionMissing, compressed, compressor, decompressed
from pyzkserver.storage.snapfile import (
    NOBODY,
    Snapshot,
    SnapshotReader,
    is_whole,
    read,
    write,
    write_unsealed,
)
from pyzkserver.storage.snaplayout import AclEntry, Ending, NodeEntry, SnapshotDigest, encode_ending
from pyzkserver.wire.records import ACL, Id, StatPersisted
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateTxn, DeleteTxn, SetACLTxn, SetDataTxn

from .histories import History, appearance, apply, pieces

seeds = st.integers(0, 1 << 32)


def snapshot_of(history: History, **how: Any) -> bytes:
    return b"".join(write(history.tree, history.sessions, **how))


def fresh_tree(**how: Any) -> DataTree:
    return DataTree(extended_types=True, **how)


def load(data: bytes, chunk: int = 1 << 20, name: str = "snapshot.1") -> tuple[DataTree, Snapshot]:
    tree = fresh_tree()
    return tree, read(pieces(data, chunk), tree, name)


def damage(data: bytes, chunk: int = 1 << 20, name: str = "snapshot.1") -> SnapshotDamaged:
    with pytest.raises(SnapshotDamaged) as caught:
        load(data, chunk, name)
    return caught.value


# --- by hand ------------------------------------------------------------------------------------------------

STAT = StatPersisted(1, 2, 3, 4, 5, 6, 7, 0, 8)


def raw(
    nodes: list[NodeEntry], *, acls: list[AclEntry] | None = None, sessions: dict[int, int] | None = None
) -> bytes:
    """The part of a snapshot that is not sealed."""
    sessions, acls = sessions or {}, acls or []
    data = pack(">i", len(sessions)) + b"".join(pack(">qi", *session) for session in sessions.items())
    data += pack(">i", len(acls)) + b"".join(entry.encode() for entry in acls)
    return data + b"".join(node.encode() for node in nodes) + b"\0\0\0\1/"


OLDEST = Ending(None, None)


def sealed(data: bytes, ending: Ending = OLDEST) -> bytes:
    data = b"ZKSN" + pack(">iq", 2, -1) + data
    return data + encode_ending(adler32(data), ending)


def node(path: str, data: bytes | None = b"", acl_id: int = -1, owner: int = 0) -> NodeEntry:
    return NodeEntry(path, data, acl_id, StatPersisted(1, 2, 3, 4, 5, 6, 7, owner, 8))


ROOT = node("")


def test_bytes() -> None:
    tree = DataTree()
    for path, zxid in (("/a", 5), ("/a/b", 6)):
        txn = Transaction(0, 0, zxid, 1000, OpCode.CREATE, CreateTxn(path, b"data", OPEN_ACL, False, -1))
        tree.apply(txn)
    read_only = Acl([ACL(1, Id("world", "anyone"))])
    untouched = StatPersisted(0, 0, 0, 0, 0, 0, 0, 0, 0)
    expected = raw(
        [
            NodeEntry("", b"", -1, StatPersisted(0, 0, 0, 0, 0, 1, 0, 0, 5)),
            NodeEntry("/zookeeper", b"", -1, untouched),
            NodeEntry("/zookeeper/config", b"", 2, StatPersisted(0, 0, 0, 0, 0, 0, -1, 0, 0)),
            NodeEntry("/zookeeper/quota", b"", -1, untouched),
            NodeEntry("/a", b"data", -1, StatPersisted(5, 5, 1000, 1000, 0, 1, 0, 0, 6)),
            NodeEntry("/a/b", b"data", -1, StatPersisted(6, 6, 1000, 1000, 0, 0, 0, 0, 6)),
        ],
        acls=[AclEntry(1, list(NOBODY)), AclEntry(2, list(read_only))],
        sessions={7: 30_000, -8: 4000},
    )
    assert b"".join(write_unsealed(tree, {7: 30_000, -8: 4000})) == expected
    whole = b"ZKSN" + pack(">iq", 2, -1) + expected
    whole += pack(">q", adler32(whole)) + b"\0\0\0\1/"
    whole += pack(">qiq", 6, 2, tree.digest.value())
    whole += pack(">q", adler32(whole)) + b"\0\0\0\1/"
    whole += pack(">q", 6)
    whole += pack(">q", adler32(whole)) + b"\0\0\0\1/"
    assert b"".join(write(tree, {7: 30_000, -8: 4000})) == whole


# --- there and back -----------------------------------------------------------------------------------------


@given(seeds, st.sampled_from([1, 3, 50, 100_000]))
def test_there_and_back(seed: int, chunk: int) -> None:
    history = History(seed, quotas=seed % 2 == 0)
    history.run(history.random.randrange(200))
    tree, found = load(snapshot_of(history), chunk)
    tree.last_zxid = history.tree.last_zxid
    assert appearance(tree) == appearance(history.tree)
    assert found.sessions == history.sessions
    assert found.unknown_acls == {}
    assert found.last_zxid == history.tree.last_zxid
    if history.txns:
        assert found.digest == SnapshotDigest(history.tree.last_zxid, 2, history.tree.digest.value())
    assert {node.shown_owner for node in tree.nodes.values()} <= {0, *tree.ephemerals}
    if not history.quotas:
        assert tree.data_size == history.tree.data_size


def test_data_size_with_quotas_is_what_is_there() -> None:
    history = History(3)
    while not history.tree.quotas.paths:
        history.step()
    tree, _ = load(snapshot_of(history))
    without_root = [(path, node) for path, node in tree.nodes.items() if path]
    assert tree.data_size == sum(len(path) + len(node.data or b"") for path, node in without_root)


@pytest.mark.parametrize("extended", [False, True])
def test_what_an_owner_means(extended: bool) -> None:
    owners = {"/container": -(1 << 63), "/ttl": -(1 << 56) + 60_000, "/ephemeral": 0x1000}
    nodes = [ROOT, *(node(path, owner=owner) for path, owner in owners.items())]
    tree = DataTree(extended_types=extended)
    read([sealed(raw(nodes))], tree)
    assert list(tree.containers) == ["/container"]
    assert list(tree.ttl_nodes) == (["/ttl"] if extended else [])
    expected = {0x1000: {"/ephemeral": None}} | ({} if extended else {owners["/ttl"]: {"/ttl": None}})
    assert tree.ephemerals == expected
    assert {path: tree.nodes[path].ephemeral_owner for path in owners} == owners
    assert tree.nodes["/ephemeral"].shown_owner == 0x1000
    assert tree.nodes["/container"].shown_owner == 0


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=5)
longs = st.integers(-(1 << 63), (1 << 63) - 1)
ints = st.integers(-(1 << 31), (1 << 31) - 1)
stats = st.builds(StatPersisted, longs, longs, longs, longs, ints, ints, ints, st.just(0), longs)


@given(
    st.dictionaries(names, st.tuples(st.none() | st.binary(max_size=9), stats), max_size=6),
    st.sampled_from([7, 1000]),
)
def test_the_quick_loop_reads_what_the_records_say(nodes: dict[str, Any], chunk: int) -> None:
    entries = [NodeEntry(f"/{name}", data, -1, stat) for name, (data, stat) in nodes.items()]
    read_back = [NodeEntry.decode(entry.encode()) for entry in entries]
    if len({entry.path for entry in read_back}) < len(entries):  # what lies beyond U+FFFF does not come back
        return
    tree, _ = load(sealed(raw([ROOT, *entries])), chunk)
    assert set(tree.nodes) == {"", "/", *(entry.path for entry in read_back)}
    assert list(tree.nodes[""].children or ()) == [(entry.path or "")[1:] for entry in read_back]
    total = node_digest("", tree.nodes[""])
    for entry in read_back:
        found, stat = tree.nodes[entry.path or ""], entry.stat
        assert (found.data, found.acl) == (entry.data, OPEN_ACL)
        numbers = (found.czxid, found.mzxid, found.ctime, found.mtime, found.version, found.cversion)
        assert (*numbers, found.aversion, found.ephemeral_owner, found.pzxid) == tuple(
            getattr(stat, name) for name in stat.fields
        )
        assert found.digest == node_digest(entry.path or "", found)
        total += found.digest
    assert tree.digest.value() == total % (1 << 64)


@pytest.mark.parametrize(
    "path", [b"/\xff", b"/\xed\xa0\x80", b"/\xed\xa0\xbd\xed\xb8\x80", "/\U0001f600".encode()]
)
def test_paths_that_are_no_utf8(path: bytes) -> None:
    odd = pack(">i", len(path)) + path + node("").encode()[4:]
    plain, _ = NodeEntry.decode_from(odd, 0)
    tree, _ = load(sealed(raw([ROOT])[:-5] + odd + b"\0\0\0\1/"))
    assert plain.path in tree.nodes
    assert tree.nodes[plain.path].digest == node_digest(plain.path, tree.nodes[plain.path])


@pytest.mark.parametrize("digest_enabled", [False, True])
def test_without_digests(digest_enabled: bool) -> None:
    history = History(1, digest_enabled=False)
    history.run(100)
    tree = fresh_tree(digest_enabled=digest_enabled)
    found = read([snapshot_of(history)], tree)
    assert found.digest is None
    assert found.last_zxid == history.tree.last_zxid
    expected = sum(node_digest(path, node) for path, node in tree.nodes.items() if counted(path))
    assert tree.digest.value() == (expected % (1 << 64) if digest_enabled else 0)


def counted(path: str) -> bool:
    return path != "/" and not path.startswith("/zookeeper/")


def test_a_tree_that_nothing_happened_to() -> None:
    tree = DataTree()
    found = read(write(tree, {}), loaded := DataTree())
    assert (found.digest, found.last_zxid, found.sessions) == (None, 0, {})
    assert appearance(loaded) == appearance(tree)


def test_a_tree_goes_on_after_it_was_read() -> None:
    history = History(8, quotas=False)
    history.run(100)
    tree, found = load(snapshot_of(history))
    tree.last_zxid, sessions = history.tree.last_zxid, dict(found.sessions)
    for _ in range(200):
        apply(history.step(), tree, sessions)
    assert appearance(tree) == appearance(history.tree)
    assert tree.data_size == history.tree.data_size == load(snapshot_of(history))[0].data_size


# --- while the tree changes ---------------------------------------------------------------------------------


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_NODES_A_STEP", "_LOOKS_A_STEP", "_ENTRIES_A_STEP"):
        monkeypatch.setattr(snapfile, name, 1)
    monkeypatch.setattr(snapfile, "_NAMES_A_STEP", 2)


def replayed(data: bytes, history: History, began: int) -> tuple[DataTree, dict[int, int]]:
    """What recovery makes of it: the snapshot, and then the log from where it began."""
    tree, found = load(data, history.random.choice((5, 200, 1 << 20)))
    assert found.digest is not None
    tree.last_zxid, sessions = began, dict(found.sessions)
    compared = found.digest.zxid == began
    for txn in history.txns:
        if txn.zxid > began:
            apply(decode_transaction(encode_transaction(txn, None)).txn, tree, sessions)
            if txn.zxid == found.digest.zxid:
                compared = True
                assert tree.digest.value() == found.digest.value
    assert compared
    return tree, sessions


@pytest.mark.usefixtures("small_steps")
@given(seeds)
def test_a_fuzzy_snapshot_and_the_log_make_the_tree(seed: int) -> None:
    history = History(seed, quotas=seed % 2 == 0)
    history.run(history.random.randrange(120))
    began = history.tree.last_zxid = max(history.tree.last_zxid, 1)
    chunks: list[bytes] = []
    busy = history.random.choice((2, 3, 8))
    for chunk in write(history.tree, history.sessions, chunk_bytes=1):
        chunks.append(chunk)
        history.run(history.random.randrange(busy))
    history.run(history.random.randrange(20))
    tree, sessions = replayed(b"".join(chunks), history, began)
    assert appearance(tree) == appearance(history.tree)
    assert sessions == history.sessions
    assert history.quotas or tree.data_size == history.tree.data_size
    assert not any(node.acl is NOBODY for node in tree.nodes.values())


class Scene(History):
    """A history that is told what happens."""

    def happen(self, op: int, body: Any) -> None:
        self.zxid += 1
        txn = Transaction(0, 0, self.zxid, 5, op, body)
        self.txns.append(txn)
        apply(txn, self.tree, self.sessions)

    def create(self, path: str, acl: Any = OPEN_ACL) -> None:
        parent = self.tree.nodes[path.rpartition("/")[0]]
        self.happen(OpCode.CREATE, CreateTxn(path, b"", acl, False, parent.cversion + 1))


LATE = [ACL(31, Id("digest", "late:hash"))]


@pytest.mark.usefixtures("small_steps")
def test_every_moment_for_a_change_of_acl() -> None:
    """A node that gets an ACL after the map of them was written has it once the log is replayed."""
    outcomes = set()
    for moment in range(40):
        scene = Scene(0)
        scene.create("/a")
        scene.create("/a/b")
        began, chunks = scene.zxid, []
        for number, chunk in enumerate(write(scene.tree, {}, chunk_bytes=1)):
            if number == moment:
                scene.happen(OpCode.SET_ACL, SetACLTxn("/a", LATE, 1))
                scene.create("/a/c", LATE)
                scene.create("/a/c/d")
            chunks.append(chunk)
        tree, found = load(b"".join(chunks))
        assert "/a/c" not in tree.nodes
        assert found.unknown_acls == {}
        outcomes.add((tree.nodes["/a"].acl[0].id.id, tree.nodes["/a"].acl == NOBODY))
        if moment < number:
            assert appearance(replayed(b"".join(chunks), scene, began)[0]) == appearance(scene.tree)
    assert outcomes == {("anyone", False), ("late:hash", False), ("anyone", True)}


@pytest.mark.usefixtures("small_steps")
def test_a_large_directory_that_changes_while_its_names_are_copied() -> None:
    for moment in range(60):
        scene = Scene(0)
        scene.create("/a")
        for number in range(10):
            scene.create(f"/a/{number}")
        began, chunks = scene.zxid, []
        for number, chunk in enumerate(write(scene.tree, {}, chunk_bytes=1)):
            if number == moment:  # as many names as before, in another order
                scene.happen(OpCode.DELETE, DeleteTxn("/a/0"))
                scene.create("/a/0")
            chunks.append(chunk)
        if moment < number:
            assert appearance(replayed(b"".join(chunks), scene, began)[0]) == appearance(scene.tree)


def test_steps_are_small() -> None:
    scene = Scene(0)
    for number in range(2000):
        scene.create(f"/{number}", [ACL(31, Id("digest", f"user{number}:x"))])
    sessions = dict.fromkeys(range(10_000), 30_000)
    chunks = list(write(scene.tree, sessions))
    assert max(map(len, chunks)) < 300_000
    assert len(chunks) > 15
    scene.happen(OpCode.SET_DATA, SetDataTxn("/5", bytes(1 << 20), 1))
    assert sum(len(chunk) > 1 << 20 for chunk in write(scene.tree, {})) == 1


def test_equal_acls_have_one_number() -> None:
    scene = Scene(0)
    for number in range(5):
        scene.create(f"/{number}")
        scene.tree.nodes[f"/{number}"].acl = Acl(LATE)
    data = b"".join(write(scene.tree, {}))
    assert data.count(b"late:hash") == 1


# --- what is damaged ----------------------------------------------------------------------------------------


def small_snapshot() -> bytes:
    history = History(5)
    history.run(25)
    return snapshot_of(history)


@pytest.mark.parametrize("chunk", [11, 1 << 20])
def test_cut_at_every_byte(chunk: int) -> None:
    data = small_snapshot()
    # A server of before 3.6 would have ended at the first of these, one of before 3.9 at the second.
    complete = {len(data) - 54, len(data) - 21}
    for size in range(len(data)):
        if size in complete:
            load(data[:size], chunk)
        else:
            assert 0 <= damage(data[:size], chunk).offset <= size


@pytest.mark.parametrize("mask", [0xFF, 1, 0x80])
def test_every_altered_byte_is_found(mask: int) -> None:
    data = small_snapshot()
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= mask
        assert str(damage(bytes(altered)))


def test_a_length_of_everything_is_not_waited_for() -> None:
    start = sealed(raw([ROOT]))[:-13]
    for length in (1 << 30, (1 << 31) - 1, -2, -(1 << 31)):
        assert "length" in str(damage(start[:-5] + pack(">i", length) + bytes(200)))
        assert "length" in str(damage(start[:-5] + b"\0\0\0\2/a" + pack(">i", length) + bytes(200)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (raw([node("/a")]), "not the root"),
        (raw([]), "ends before"),
        (raw([ROOT, node("/a/b")]), "'/a/b'"),
        (raw([ROOT, node("/a"), node("/a/b/c")]), "'/a/b/c'"),
        (raw([ROOT, node("ab")]), "'ab'"),
        (raw([ROOT, node("/a"), node("ab")]), "'ab'"),
        (raw([ROOT, node("a/b")]), "'a/b'"),
        (raw([ROOT])[:-5] + b"\0\0\0\2/a" + pack(">i", -2) + node("").encode()[8:], "length of -2"),
        (raw([ROOT, node("/a"), node("/b"), node("/a")]), "twice"),
        (raw([ROOT, ROOT]), "length of 0"),
        (raw([ROOT, node("x")]), "b'x'"),
        (raw([ROOT], acls=[AclEntry(1, None)]), "null"),
        (pack(">i", -1) + raw([ROOT])[4:], "-1 sessions"),
        (pack(">ii", 0, -5) + raw([ROOT])[8:], "-5 ACLs"),
    ],
)
def test_a_snapshot_that_makes_no_sense(body: bytes, reason: str) -> None:
    assert reason in str(damage(sealed(body)))


@pytest.mark.parametrize(
    "data", [b"", b"ZKSN", b"ZKLG\0\0\0\2" + bytes(100), bytes(100), b"ZKSN\0\0\0\3" + bytes(100)]
)
def test_no_snapshot(data: bytes) -> None:
    damage(data)


@pytest.mark.parametrize("collecting", [True, False])
@pytest.mark.parametrize("damaged", [True, False])
def test_the_host_programs_garbage_is_collected_as_before(collecting: bool, damaged: bool) -> None:
    """It rests while a snapshot is read, and goes on behind it, however that ends; unless it never ran."""
    content = b"".join(snapfile.write(DataTree(), {}))
    seen: list[bool] = []

    def chunks() -> Iterator[bytes]:
        seen.append(gc.isenabled())
        yield content[:-1] + b"?" if damaged else content

    (gc.enable if collecting else gc.disable)()
    try:
        with pytest.raises(SnapshotDamaged) if damaged else nullcontext():
            snapfile.read(chunks(), DataTree())
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
    assert seen == [False]


def test_an_acl_that_is_not_there() -> None:
    """Apache writes such a snapshot when a node gets a new ACL meanwhile; the log has it."""
    known = AclEntry(5, LATE)
    tree, found = load(
        sealed(raw([node("", acl_id=9), node("/a", acl_id=7), node("/b", acl_id=5)], acls=[known]))
    )
    assert found.unknown_acls == {"/": 9, "/a": 7}
    assert [tree.nodes[path].acl for path in ("/", "/a", "/b")] == [NOBODY, NOBODY, Acl(LATE)]
    tree.apply(Transaction(0, 0, 10, 5, OpCode.SET_ACL, SetACLTxn("/a", LATE, 1)))
    assert tree.nodes["/a"].acl == Acl(LATE)


# --- endings ------------------------------------------------------------------------------------------------

DIGEST = SnapshotDigest(77, 2, 0xFFFF_FFFF_0000_0001)


@pytest.mark.parametrize("digest", [None, DIGEST])
@pytest.mark.parametrize("last_zxid", [None, 0, 78, -1])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_endings_of_all_versions(digest: SnapshotDigest | None, last_zxid: int | None, chunk: int) -> None:
    _, found = load(sealed(raw([ROOT]), Ending(digest, last_zxid)), chunk)
    assert (found.digest, found.last_zxid) == (digest, last_zxid)


@pytest.mark.parametrize("text", [b"\0\0\0\x04abcd", b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_a_digest_of_the_first_version(text: bytes) -> None:
    data = sealed(raw([ROOT]))
    data += pack(">qi", 77, 1) + text
    data += pack(">q", adler32(data)) + b"\0\0\0\1/"
    _, found = load(data)
    assert found.digest is None
    load(data + pack(">q", 5) + pack(">q", adler32(data + pack(">q", 5))) + b"\0\0\0\1/")


def test_a_digest_of_no_zxid_is_none() -> None:
    assert load(sealed(raw([ROOT]), Ending(SnapshotDigest(0, 2, 0), 5)))[1].digest is None


def test_what_later_versions_may_add() -> None:
    data = sealed(raw([ROOT]), Ending(DIGEST, 78))
    for chunk in (100, 1 << 20):
        assert load(data + b"more" * 1000, chunk)[1].last_zxid == 78


def test_what_a_leader_sends() -> None:
    history = History(4)
    history.run(100)
    data = b"".join(write_unsealed(history.tree, history.sessions))
    assert snapshot_of(history)[16 : 16 + len(data)] == data
    for size in (1, 7, 1 << 20):
        reader = SnapshotReader(tree := fresh_tree(), sealed=False)
        rest = b""
        for chunk in pieces(data + b"\0\0\0\x0bBenchWarmer", size):
            if reader.done:
                rest += chunk
            else:
                reader.feed(chunk)
        assert reader.rest + rest == b"\0\0\0\x0bBenchWarmer"
        assert reader.finish().sessions == history.sessions
        tree.last_zxid = history.tree.last_zxid
        assert appearance(tree) == appearance(history.tree)


# --- names and compression ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "head", "tail", "whole"),
    [
        ("snapshot.5", b"ZKSN", b"12345\0\0\0\1/", True),
        ("snapshot.5", b"ZKSN", b"12345\0\0\0\2/", False),
        ("snapshot.5", b"\0\0\0\1/", b"\0\0\0\1/", False),
        ("snapshot.5", b"", b"", False),
        ("snapshot.5.gz", b"\x1f\x8b\x08", b"", True),
        ("snapshot.5.gz", b"ZKSN", b"12345\0\0\0\1/", False),
        ("snapshot.5.snappy", b"\x82SNAPPY\0", b"", True),
        ("snapshot.5.snappy", b"\x82SNAPP", b"", False),
    ],
)
def test_is_whole(name: str, head: bytes, tail: bytes, whole: bool) -> None:
    assert is_whole(name, head, tail) is whole


METHODS = ["", "gz", "snappy"]


def need(method: str) -> None:
    if method == "snappy":
        pytest.importorskip("cramjam")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunk", [1, 1000, 1 << 20])
def test_compressed_there_and_back(method: str, chunk: int) -> None:
    need(method)
    history = History(6)
    history.run(200)
    data = snapshot_of(history, compression=method)
    name = f"snapshot.5.{method}".rstrip(".")
    tree, found = load(data, chunk, name)
    tree.last_zxid = found.last_zxid or 0
    assert appearance(tree) == appearance(history.tree)
    assert is_whole(name, data[:8], data[-10:])


def test_gzip_is_gzip() -> None:
    data = small_snapshot() * 50
    assert gzip.decompress(b"".join(compressed(pieces(data, 1000), "gz"))) == data
    assert b"".join(decompressed(pieces(gzip.compress(data), 100), "gz")) == data
    bomb = gzip.compress(bytes(5 << 20))
    assert max(map(len, decompressed([bomb], "gz"))) <= 1 << 20


def test_snappy_is_framed_as_java_does_it() -> None:
    cramjam = pytest.importorskip("cramjam")
    data = (small_snapshot() * 200)[:120_000]
    stream = b"".join(compressed(pieces(data, 50_000), "snappy"))
    assert stream[:16] == b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
    at, blocks = 16, []
    while at < len(stream):
        size = int.from_bytes(stream[at : at + 4])
        blocks.append(bytes(cramjam.snappy.decompress_raw(stream[at + 4 : at + 4 + size])))
        at += 4 + size
    assert b"".join(blocks) == data
    assert max(map(len, blocks)) == 32 << 10
    assert b"".join(decompressed([compressor("snappy").flush()], "snappy")) == b""


@pytest.mark.parametrize("method", ["gz", "snappy"])
def test_damaged_compression(method: str) -> None:
    need(method)
    data = b"".join(compressed([small_snapshot()], method))
    name = f"snapshot.5.{method}"
    for size in range(len(data)):
        damage(data[:size], 1000, name)
    harmless = 0
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 0xFF
        try:
            load(bytes(altered), 1000, name)
        except SnapshotDamaged:
            continue
        harmless += 1
    assert harmless <= 12  # the time and the like in a gzip header, a version of snappy's


def test_snappy_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cramjam", None)
    for attempt in (
        lambda: write(DataTree(), {}, compression="snappy"),
        lambda: read([b""], DataTree(), "snapshot.5.snappy"),
    ):
        with pytest.raises(CompressionMissing, match=r"pip install 'pyzkserver\[snappy\]'"):
            attempt()


def test_a_snappy_block_of_impossible_size() -> None:
    need("snappy")
    assert "length" in str(damage(b"".join(compressed([], "snappy")) + b"\xff" * 4, name="snapshot.5.snappy"))
