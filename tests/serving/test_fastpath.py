"""The fast way is held against the plain way: the same bytes, the same answers, the same watches."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyzkserver.serving.atonce import FAST_AT_ONCE
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.fastpath import FAST_DECODERS
from pyzkserver.state.acl import digest_of
from pyzkserver.wire.jute import DecodeError, Record, encode_string
from pyzkserver.wire.records import ACL, Id, Perms
from pyzkserver.wire.requests import OPERATIONS, CreateRequest, DeleteRequest, OpCode, SetDataRequest

from .talk import (
    NOBODY,
    OPEN,
    PING,
    Call,
    Client,
    Desk,
    auth,
    children,
    children2,
    create,
    cut_frames,
    exists,
    get,
    packet,
    set_data,
)

USER = [ACL(int(Perms.ALL), Id("digest", digest_of("user:password")))]
ALL_BUT_READ = [ACL(int(Perms.ALL & ~Perms.READ), Id("world", "anyone"))]
LOCAL = [ACL(int(Perms.READ), Id("ip", "127.0.0.0/8")), ACL(int(Perms.WRITE), Id("world", "anyone"))]
FURNITURE = [
    create("/open", b"data"),
    create("/open/child", b""),
    create("/open/\u00e9\u4e2d", b"x" * 300),
    create("/null", None),
    create("/closed", b"secret", [*NOBODY, ACL(int(Perms.CREATE), Id("world", "anyone"))]),
    create("/closed/child"),
    create("/user", b"secret", USER),
    create("/unreadable", b"secret", ALL_BUT_READ),
    create("/local", b"near", LOCAL),
    create("/mine", b"", flags=1),
]
PATHS = [
    "/",
    "",
    "/open",
    "/open/child",
    "/open/\u00e9\u4e2d",
    "/null",
    "/closed",
    "/closed/child",
    "/user",
    "/unreadable",
    "/local",
    "/mine",
    "/missing",
    "/open/",
    "open",
    "/zookeeper",
    "/zookeeper/config",
    "/\0",
    "/\U0001f600",
]


# --- two servers that differ in nothing but the way ---------------------------------------------------------


class Pair:
    """Two clients of a server that has the fast way or not; they said the same things before."""

    def __init__(self, *, fast: bool, max_watches: int, skip_acl: bool) -> None:
        self.desk = Desk(max_watches_per_connection=max_watches, skip_acl=skip_acl)
        self.clients = [self.desk.client(), self.desk.client()]
        self.clients[0].do(*FURNITURE)
        for client in self.clients:
            assert client.connection._fast is FAST_AT_ONCE
            if not fast:
                client.connection._fast = {}

    def state(self) -> dict[str, object]:
        """All that a request may have changed, and what is told of it."""
        tree = self.desk.tree
        who: dict[object, int] = {client.connection: at for at, client in enumerate(self.clients)}
        tables = [
            {
                path: {who[watcher]: modes for watcher, modes in watchers.items()}
                for path, watchers in table.items()
            }
            for table in (tree.watches.data.by_path, tree.watches.child.by_path)
        ]
        connections = [client.connection for client in self.clients]
        return {
            "watches": tables,
            "nodes": {path: (node.data, node.acl, node.stat_bytes()) for path, node in tree.nodes.items()},
            "zxids": (tree.last_zxid, self.desk.replica.last_proposed),
            "cversions": {path: node.cversion for path, node in tree.nodes.items()},
            "size": tree.data_size,
            "digest": tree.digest.value(),
            "counters": [(c.received, c.sent, c.last_op, c.last_zxid) for c in connections],
            "xids": [c.last_xid for c in connections],
            "bytes": self.desk.service.statistics.bytes_received,
            "ended": [client.ended for client in self.clients],
            "queued": [c.queued for c in connections],
        }


def pairs(max_watches: int = 1000, skip_acl: bool = False) -> tuple[Pair, Pair]:
    return (
        Pair(fast=True, max_watches=max_watches, skip_acl=skip_acl),
        Pair(fast=False, max_watches=max_watches, skip_acl=skip_acl),
    )


def assert_same(fast: Pair, plain: Pair) -> None:
    for one, other in zip(fast.clients, plain.clients, strict=True):
        assert one.take() == other.take()
    assert fast.state() == plain.state()


# --- bodies, valid and not ----------------------------------------------------------------------------------


def string(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


raw_paths = st.one_of(
    st.sampled_from(PATHS).map(encode_string),
    # Four bytes for what Java writes as six; an encoded surrogate; bytes that are no UTF-8.
    st.sampled_from(["/\U0001f600".encode(), b"/\xed\xa0\x80", b"/open\xff", b"/\xc0\x80", b"\xff\xfe"]),
    st.binary(max_size=6),
)
flags = st.sampled_from([b"\0", b"\1", b"\1", b"\2", b"\xff"])
more = st.sampled_from([b"", b"", b"", b"\0", b"trailing"])
read_bodies = st.builds(lambda path, flag, more: string(path) + flag + more, raw_paths, flags, more)
numbers = st.sampled_from([-(2**31), -2, -1, 0, 1, 2, 3, 4, 5, 7, 2**31 - 1])
datas = st.one_of(st.none(), st.binary(max_size=8))
entries = st.builds(
    lambda perms, scheme, who: ACL(perms, Id(scheme, who)),
    st.sampled_from([0, 1, 31, 32, -1]),
    st.sampled_from([None, "world", "auth", "digest", "ip", "x", "\u00e9"]),
    st.sampled_from([None, "anyone", "", "127.0.0.1", "user:hash"]),
)
acls = st.one_of(
    st.sampled_from([OPEN, OPEN, NOBODY, USER, None, []]), st.lists(entries, min_size=1, max_size=3)
)
new_paths = st.one_of(
    st.sampled_from(PATHS), st.sampled_from(["/new", "/new/er", "/open/new", "/closed/new"])
)
write_bodies = st.one_of(
    st.builds(
        lambda path, data, version, more: SetDataRequest(path, data, version).encode() + more,
        new_paths,
        datas,
        numbers,
        more,
    ),
    st.builds(
        lambda path, data, acl, flags, more: CreateRequest(path, data, acl, flags).encode() + more,
        new_paths,
        datas,
        acls,
        numbers,
        more,
    ),
    st.builds(lambda path: DeleteRequest(path, -1).encode(), new_paths),
)


@st.composite
def mutated(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """A body, and often enough not quite: cut, with other lengths, or with other bytes in it."""
    body = bytearray(draw(bodies))
    how = draw(st.sampled_from(["whole", "whole", "cut", "length", "byte"]))
    if how == "cut":
        return bytes(body[: draw(st.integers(0, len(body)))])
    if how == "length" and len(body) >= 4:
        body[:4] = draw(st.integers(-3, 12)).to_bytes(4, "big", signed=True)
    if how == "byte" and body:
        body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


READ_OPS = [OpCode.GET_DATA, OpCode.EXISTS, OpCode.GET_CHILDREN, OpCode.GET_CHILDREN2]
WRITE_OPS = [OpCode.SET_DATA, OpCode.CREATE, OpCode.CREATE2, OpCode.DELETE]
xids = st.integers(-(2**31), 2**31 - 1)
requests = st.one_of(
    st.tuples(xids, st.sampled_from(READ_OPS), mutated(read_bodies)),
    st.tuples(xids, st.sampled_from(READ_OPS), mutated(read_bodies)),
    st.tuples(xids, st.sampled_from(WRITE_OPS), mutated(write_bodies)),
    st.tuples(xids, st.just(OpCode.PING), st.binary(max_size=5)),
    st.just((-4, OpCode.AUTH, auth("digest", b"user:password")[1])),
)
turns = st.lists(st.tuples(st.integers(0, 1), st.lists(requests, min_size=1, max_size=5)), max_size=6)


@settings(deadline=None, max_examples=200)
@given(turns, st.sampled_from([2, 1000]), st.booleans())
@example(
    [(0, [(1, OpCode.GET_DATA, get("/open", True)[1])] * 3), (1, [(1, *set_data("/open", b""))])], 2, False
)
def test_both_ways_are_one(
    turns: list[tuple[int, list[tuple[int, int, Record | bytes]]]], max_watches: int, skip_acl: bool
) -> None:
    """Whatever two clients send, the server that knows the fast way answers byte for byte like the other."""
    fast, plain = pairs(max_watches, skip_acl)
    for who, requests in turns:
        stream = b"".join(packet(xid, op, body) for xid, op, body in requests)
        for pair in (fast, plain):
            pair.clients[who].send(stream)
        assert_same(fast, plain)


@settings(deadline=None, max_examples=75)
@given(st.lists(requests, min_size=1, max_size=12), st.lists(st.integers(1, 60), max_size=60))
def test_the_fast_way_does_not_mind_how_bytes_are_cut(
    requests: list[tuple[int, int, Record | bytes]], sizes: list[int]
) -> None:
    """Requests that come in pieces, or many in one piece, get what they would get one by one."""
    stream = b"".join(packet(xid, op, body) for xid, op, body in requests)
    whole, pieces, single = (Pair(fast=True, max_watches=1000, skip_acl=False) for _ in range(3))
    whole.clients[0].send(stream)
    at = 0
    for size in [*sizes, len(stream)]:
        pieces.clients[0].send(stream[at : at + size])
        at += size
    for xid, op, body in requests:
        single.clients[0].send(packet(xid, op, body))
    answers = whole.clients[0].take()
    assert pieces.clients[0].take() == answers
    assert single.clients[0].take() == answers
    states = [pair.state() for pair in (whole, pieces, single)]
    for state in states:
        del state["xids"]  # told of a batch, and only where they are a request's own
    assert states[0] == states[1] == states[2]


# --- what goes which way ------------------------------------------------------------------------------------


@contextmanager
def counted(client: Client) -> Iterator[list[bool]]:
    """What the functions of the fast way said, one after the other."""
    said: list[bool] = []
    before = client.connection._fast

    def watching(op: int) -> object:
        def quick(connection: Connection, data: bytes, pos: int, end: int, xid: int) -> bool:
            said.append(FAST_AT_ONCE[op](connection, data, pos, end, xid))
            return said[-1]

        return quick

    client.connection._fast = {op: watching(op) for op in FAST_AT_ONCE}  # type: ignore[misc]
    yield said
    client.connection._fast = before


@pytest.mark.parametrize("path", ["/", "", "/open", "/open/\u00e9\u4e2d", "/zookeeper/config", "/mine"])
@pytest.mark.parametrize("ask", [get, exists, children, children2])
@pytest.mark.parametrize("watch", [False, True])
def test_what_anybody_may_read_goes_the_fast_way(path: str, ask: object, watch: bool) -> None:
    """Otherwise these tests would hold the plain way against itself, and the server would be slow."""
    fast, plain = pairs()
    call: Call = ask(path, watch)  # type: ignore[operator]
    with counted(fast.clients[0]) as said:
        for pair in (fast, plain):
            pair.clients[0].send(packet(1, *call))
    assert said == [True]
    assert_same(fast, plain)


@pytest.mark.parametrize("path", ["/closed", "/user", "/unreadable", "/local", "/missing", "/open/"])
@pytest.mark.parametrize("ask", [get, exists, children, children2])
def test_what_has_to_be_judged_goes_the_plain_way(path: str, ask: object) -> None:
    """The fast way leaves no trace of what it does not answer: no watch, no byte."""
    fast, plain = pairs()
    call: Call = ask(path, True)  # type: ignore[operator]
    with counted(fast.clients[0]) as said:
        for pair in (fast, plain):
            pair.clients[0].send(packet(1, *call))
    assert said == [False]
    assert_same(fast, plain)


def test_null_data_is_not_the_fast_ways() -> None:
    """23: null data is not empty data; its length comes back as -1."""
    fast, plain = pairs()
    with counted(fast.clients[0]) as said:
        for pair in (fast, plain):
            pair.clients[0].send(packet(1, *get("/null")) + packet(2, *exists("/null")))
    assert said == [False, True]
    null, _ = cut_frames(fast.clients[0].output)
    assert null[16:20] == b"\xff\xff\xff\xff"
    assert_same(fast, plain)


def test_a_read_behind_a_held_write_is_not_answered_fast() -> None:
    """10: while a write of the client is on its way its reads wait, and so does a ping."""
    desk = Desk(held=True)
    client = desk.client()
    assert client.ask(create("/a"), get("/"), PING) == []
    desk.flush()
    assert len(client.take_answers()) == 3
    with counted(client) as said:
        client.send(packet(4, *get("/")))
    assert said == [True]


@pytest.mark.parametrize("enforced", [False, True])
def test_enforced_authentication_has_no_fast_way(enforced: bool) -> None:
    """Where enforce.auth.enabled is set every request is looked at: not even a decoder is fast."""
    desk = Desk(enforce_auth_enabled=enforced, enforce_auth_schemes=("digest",) if enforced else ())
    assert bool(desk.client().connection._fast) is not enforced


# --- the fast decoders --------------------------------------------------------------------------------------


def plainly(op: int, body: bytes) -> Record | None:
    operation = OPERATIONS[op].request
    assert operation is not None
    try:
        return operation.decode(body)
    except DecodeError:
        return None


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(sorted(FAST_DECODERS)),
    mutated(write_bodies),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
def test_the_fast_decoders_give_what_the_plain_one_gives(
    op: int, body: bytes, before: bytes, behind: bytes
) -> None:
    """Or nothing; and they do not look beyond the request that they are shown."""
    decode = FAST_DECODERS[op]
    for _ in range(2):  # the second time an ACL may be known
        request = decode(before + body + behind, len(before), len(before) + len(body))
        if request is None:
            continue
        if isinstance(request, CreateRequest) and request.acl is not None:
            request = CreateRequest(request.path, request.data, list(request.acl), request.flags)
        assert request == plainly(op, body)


@pytest.mark.parametrize(
    "call",
    [set_data("/a", b"data"), set_data("/a", b"", 7), create("/a", b"data"), create("/\u00e9", b"", USER)],
)
def test_ordinary_writes_are_decoded_fast(call: Call) -> None:
    """The second time at the latest, when the ACL is known."""
    op, record = call
    assert isinstance(record, Record)
    body = record.encode()
    for _ in range(2):
        request = FAST_DECODERS[op](body, 0, len(body))
    assert request is not None


def test_an_acl_that_was_seen_before_is_not_taken_for_another() -> None:
    """Bytes behind the flags, or a different count, make another request of it."""
    decode = FAST_DECODERS[OpCode.CREATE]
    body = CreateRequest("/a", b"", OPEN, 0).encode()
    for other in (
        body,
        body + bytes(4),
        body[:-4],
        body + b"\0",
        CreateRequest("/a", b"", OPEN * 2, 0).encode(),
    ):
        for _ in range(2):
            request = decode(other, 0, len(other))
            if request is not None:
                assert list(request.acl or []) == (OPEN * 2 if len(other) > len(body) + 4 else OPEN)  # type: ignore[union-attr]
                assert request.path == "/a"
