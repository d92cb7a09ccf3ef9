"""Random and hostile bytes cost the connection they come from, and nothing else.

Three strangers say whatever they like while a well-behaved client goes on with its work.  Nothing may be
raised, nothing may be logged as a defect of ours, the well-behaved one gets the right answers, and in the end
everything that is kept twice still agrees.  ``pytest -m slow`` looks for much longer, for FUZZ_EXAMPLES
examples of each kind, and at others each time.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving.talk import (
    OPEN,
    Desk,
    Reply,
    create,
    data_of,
    delete,
    get,
    hello,
    packet,
)
from serving.talk import set_data as set_data_call

from pyzkserver.replica import upkeep
from pyzkserver.replica.replica import Proposal
from pyzkserver.state.acl import digest_of
from pyzkserver.state.digest import node_digest
from pyzkserver.state.node import NodeKind, kind_of
from pyzkserver.state.paths import LIMIT_NODE, QUOTA_NODE, STAT_NODE
from pyzkserver.state.watches import RECURSIVE, WatchTable
from pyzkserver.wire.jute import Record
from pyzkserver.wire.multi import MultiOp, MultiRequest
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import (
    OPERATIONS,
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    ExistsRequest,
    GetACLRequest,
    GetAllChildrenNumberRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    GetEphemeralsRequest,
    GetSASLRequest,
    OpCode,
    ReconfigRequest,
    RemoveWatchesRequest,
    SetACLRequest,
    SetDataRequest,
    SetWatches,
    SetWatches2,
    SyncRequest,
)

DEFAULT, LONG = 40, int(os.environ.get("FUZZ_EXAMPLES", "3000"))
EXAMPLES = [DEFAULT, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]


# --- what strangers say -------------------------------------------------------------------------------------

TREE = ["/", "/a", "/a/b", "/a/b/c", "/e", "/c", "/c/x", "/t", "/s-", "/\u00e9"]
QUOTA = [
    "/q",
    "/q/x",
    "/q/x/y",
    QUOTA_NODE,
    f"{QUOTA_NODE}/q",
    f"{QUOTA_NODE}/q/{LIMIT_NODE}",
    f"{QUOTA_NODE}/q/{STAT_NODE}",
    f"{QUOTA_NODE}/q/x",
    f"{QUOTA_NODE}/q/x/{LIMIT_NODE}",
    f"{QUOTA_NODE}/{LIMIT_NODE}",
    f"{QUOTA_NODE}/{STAT_NODE}",
    f"/zookeeper/{LIMIT_NODE}",
]
ODD = ["", "/a/", "a", "//", "/.", "/a/../e", "/\0", "/\U0001f600", "/zookeeper", "/zookeeper/config", None]
tree_paths = st.sampled_from(TREE)
paths = st.one_of(tree_paths, tree_paths, st.sampled_from(ODD))
any_paths = st.one_of(tree_paths, st.sampled_from(QUOTA), st.sampled_from(QUOTA), st.sampled_from(ODD))
plain_data = st.sampled_from([None, b"", b"x", b"data" * 20])
quota_data = st.sampled_from(
    [
        None,
        b"",
        b"count=2,bytes=10",
        b"count=1,bytes=-1=;byteHardLimit=5;countHardLimit=2",
        b"count=-1,bytes=-1",
        b"count=,bytes=",
        b"count=x",
        b"=;=;,",
        b"count=9223372036854775807,bytes=-9223372036854775808",
        b"count=9223372036854775808,bytes=1",
        b"count=%s,bytes=1" % (b"9" * 4300),
        b"\xff\xfe",
    ]
)
numbers = st.sampled_from([-(2**31), -2, -1, 0, 1, 2, 3, 2**31 - 1])
flags = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, -1])
ttls = st.sampled_from([-(2**63), -1, 0, 1, 1000, 2**40 - 1, 2**40, 2**63 - 1])
booleans = st.booleans()
entries = st.builds(
    lambda perms, scheme, who: ACL(perms, Id(scheme, who)),
    st.sampled_from([0, 1, 2, 4, 8, 16, 31, -1]),
    st.sampled_from(["world", "auth", "digest", "ip", "super", "sasl", "", None]),
    st.sampled_from(["anyone", "", "user:hash", ":", "127.0.0.1", "127.0.0.0/8", "1.2.3", "::1/129", None]),
)
acls = st.one_of(
    st.just(OPEN),
    st.just(OPEN),
    st.just(OPEN),
    st.sampled_from(
        [
            None,
            [],
            [ACL(31, Id("digest", digest_of("user:password")))],
            [ACL(31, Id("auth", "x"))],
            [ACL(1, OPEN[0].id)],
        ]
    ),
    st.lists(entries, max_size=4),
)


def requests(paths: st.SearchStrategy[str | None], data: st.SearchStrategy[bytes | None]) -> Any:
    """Requests of every kind, well-formed: pairs of opcode and body."""
    texts = st.lists(paths.filter(lambda path: path is not None), max_size=4)
    creates = st.builds(CreateRequest, paths, data, acls, flags)
    creates_ttl = st.builds(CreateTTLRequest, paths, data, acls, flags, ttls)
    deletes = st.builds(DeleteRequest, paths, numbers)
    sets = st.builds(SetDataRequest, paths, data, numbers)
    checks = st.builds(CheckVersionRequest, paths, numbers)
    gets = st.builds(GetDataRequest, paths, booleans)
    lists = st.builds(GetChildrenRequest, paths, booleans)
    in_multi = st.one_of(
        st.builds(
            MultiOp, st.sampled_from([OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER]), creates
        ),
        st.builds(MultiOp, st.just(OpCode.CREATE_TTL), creates_ttl),
        st.builds(MultiOp, st.just(OpCode.DELETE), deletes),
        st.builds(MultiOp, st.just(OpCode.SET_DATA), sets),
        st.builds(MultiOp, st.just(OpCode.CHECK), checks),
    )
    in_multi_read = st.one_of(
        st.builds(MultiOp, st.just(OpCode.GET_DATA), gets),
        st.builds(MultiOp, st.just(OpCode.GET_CHILDREN), lists),
    )
    multis = st.builds(MultiRequest, st.lists(in_multi, max_size=5))
    multi_reads = st.builds(
        MultiRequest, st.lists(st.one_of(in_multi_read, in_multi_read, in_multi), max_size=4)
    )
    by_op: dict[int, st.SearchStrategy[Any]] = {
        OpCode.CREATE: creates,
        OpCode.CREATE2: creates,
        OpCode.CREATE_CONTAINER: creates,
        OpCode.CREATE_TTL: creates_ttl,
        OpCode.DELETE: deletes,
        OpCode.DELETE_CONTAINER: st.builds(DeleteContainerRequest, paths),
        OpCode.EXISTS: st.builds(ExistsRequest, paths, booleans),
        OpCode.GET_DATA: gets,
        OpCode.SET_DATA: sets,
        OpCode.CHECK: checks,
        OpCode.SYNC: st.builds(SyncRequest, paths),
        OpCode.GET_CHILDREN: lists,
        OpCode.GET_CHILDREN2: st.builds(GetChildren2Request, paths, booleans),
        OpCode.GET_ALL_CHILDREN_NUMBER: st.builds(GetAllChildrenNumberRequest, paths),
        OpCode.GET_EPHEMERALS: st.builds(GetEphemeralsRequest, paths),
        OpCode.GET_ACL: st.builds(GetACLRequest, paths),
        OpCode.SET_ACL: st.builds(SetACLRequest, paths, acls, numbers),
        OpCode.MULTI: st.one_of(multis, multis, multi_reads),
        OpCode.MULTI_READ: multi_reads,
        OpCode.SET_WATCHES: st.builds(SetWatches, numbers, texts, texts, texts),
        OpCode.SET_WATCHES2: st.builds(SetWatches2, numbers, texts, texts, texts, texts, texts),
        OpCode.ADD_WATCH: st.builds(AddWatchRequest, paths, numbers),
        OpCode.CHECK_WATCHES: st.builds(CheckWatchesRequest, paths, st.integers(0, 6)),
        OpCode.REMOVE_WATCHES: st.builds(RemoveWatchesRequest, paths, st.integers(0, 6)),
        OpCode.RECONFIG: st.builds(ReconfigRequest, paths, paths, paths, numbers),
        OpCode.PING: st.just(b""),
        OpCode.AUTH: st.builds(
            AuthPacket,
            numbers,
            st.sampled_from(["digest", "ip"]),
            st.sampled_from([b"user:password", b"", b":", b"\xff", b"super:test"]),
        ),
        OpCode.SASL: st.builds(GetSASLRequest, plain_data),
        OpCode.WHO_AM_I: st.just(b""),
        OpCode.CREATE_SESSION: st.just(b"\0\0\x27\x10"),
        OpCode.CLOSE_SESSION: st.just(b""),
    }
    assert by_op.keys() == OPERATIONS.keys()
    rare = {OpCode.CLOSE_SESSION, OpCode.CHECK}  # after which there is nobody to say more
    often = [op for op in by_op if op not in rare]
    writes = [OpCode.CREATE, OpCode.CREATE2, OpCode.MULTI, OpCode.DELETE, OpCode.SET_DATA]
    ops = st.one_of(st.sampled_from(often), st.sampled_from(writes), st.sampled_from(sorted(by_op)))
    return ops.flatmap(lambda op: st.tuples(st.just(int(op)), by_op[op]))


def encoded(request: tuple[int, Record | bytes]) -> bytes:
    op, body = request
    return packet(7, op, body)


@st.composite
def mutated(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame with something wrong in it; its length is right, most often."""
    frame = bytearray(draw(frames))
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["byte", "byte", "number", "cut", "more"]))
        at = draw(st.integers(8, max(8, len(frame) - 1)))
        if how == "byte" and at < len(frame):
            frame[at] = draw(st.integers(0, 255))
        elif how == "number":
            frame[at : at + 4] = draw(numbers).to_bytes(4, "big", signed=True)
        elif how == "cut":
            del frame[at:]
        else:
            frame += draw(st.binary(min_size=1, max_size=8))
    if draw(st.integers(0, 9)):
        frame[:4] = (len(frame) - 4).to_bytes(4, "big")
    return bytes(frame)


# --- the scene ----------------------------------------------------------------------------------------------


@contextmanager
def nothing_trips() -> Iterator[None]:
    """No request may be one that our code trips over: that is always logged with its trace."""
    defects: list[str] = []
    formatter = logging.Formatter()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                defects.append(f"{record.getMessage()}\n{formatter.formatException(record.exc_info)}")

    logger = logging.getLogger("pyzkserver")
    listener = Listener()
    logger.addHandler(listener)
    logger.propagate = False  # the thousand other things that are said of strangers
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.propagate = True
    assert not defects, "\n".join(defects)


class Scene:
    """A server with three strangers and one client whose work must go on, below /good and nowhere else."""

    def __init__(self, *, held: bool = False, enforce_quota: bool = False) -> None:
        self.desk = Desk(
            held=held,
            extended_types_enabled=True,
            enforce_quota=enforce_quota,
            super_digest=digest_of("super:test"),
            max_watches_per_connection=20,
            max_outbox_bytes=1 << 20,
        )
        self.held = held
        self.good = self.desk.client(40_000)
        self.steps = 0
        self.work(create("/good"), 0)
        self.strangers = [self.desk.client(40_000) for _ in range(3)]

    def say(self, who: int, data: bytes) -> None:
        """A stranger says something.  One that was thrown out comes back, sometimes to its session."""
        stranger = self.strangers[who]
        if stranger.ended:
            again = self.strangers[who] = self.desk.connection()
            session_id = stranger.session_id if stranger.session_id in self.desk.replica.sessions.by_id else 0
            again.send(hello(40_000, session_id=session_id, password=stranger.password))
            self.desk.flush()
            (again.session_id, again.password) = again.take_welcome()[1:3]
            stranger = again
        stranger.send(data)
        stranger.take()

    def work(self, call: tuple[int, Record | bytes], err: int) -> Reply:
        """One request of the well-behaved client, and its reply."""
        answers = self.good.ask(call)
        if self.held:
            self.desk.flush()
            answers += self.good.take_answers()
        (reply,) = answers
        assert isinstance(reply, Reply)
        assert (reply.xid, reply.err) == (self.good.next_xid - 1, err)
        return reply

    def go_on(self) -> None:
        """The well-behaved client does its next piece of work, and gets the right answers."""
        self.steps += 1
        path, data = f"/good/{self.steps}", b"%d" % self.steps
        self.work(create(path, data), 0)
        assert data_of(self.work(get(path), 0)) == data
        self.work(set_data_call(path, b"more", 0), 0)
        self.work(set_data_call(path, b"less", 0), -103)
        assert data_of(self.work(get(path), 0)) == b"more"
        self.work(delete(path), 0)
        self.work(get(path), -101)

    def look_after_containers(self) -> None:
        replica = self.desk.replica
        for path in upkeep.container_candidates(replica, self.desk.host.wall_ms(), 0):
            replica.submit(Proposal(OpCode.DELETE_CONTAINER, DeleteContainerRequest(path), 0))
        self.desk.settle()

    def end(self) -> None:
        """Everything is flushed, and all that is kept twice agrees."""
        self.desk.flush()
        check_tree(self.desk, quotas=False)
        check_watches(self.desk)
        check_sessions(self.desk)
        self.desk.pass_time(42_001)
        self.desk.flush()
        assert not self.desk.replica.sessions.by_id
        assert self.desk.tree.ephemeral_count() == 0
        assert len(self.desk.tree.watches) == 0
        check_tree(self.desk, quotas=False)


def check_tree(desk: Desk, *, quotas: bool) -> None:
    """Children and nodes, sizes, kinds, encodings and the digest, each counted anew."""
    tree = desk.tree
    nodes = {path: node for path, node in tree.nodes.items() if path != ""}
    assert tree.nodes[""] is nodes["/"]
    listed = {f"{path.rstrip('/')}/{name}" for path, node in nodes.items() for name in node.children or {}}
    assert listed == nodes.keys() - {"/"}
    kinds: dict[NodeKind, set[str]] = {kind: set() for kind in NodeKind}
    for path, node in nodes.items():
        kinds[kind_of(node.ephemeral_owner, tree.extended_types)].add(path)
        encodings = node.stat_bytes(), node.listing_bytes()
        node._stat = node._listing = None
        assert (node.stat_bytes(), node.listing_bytes()) == encodings
        assert node.cversion >= node.child_count or path in ("/", "/zookeeper")
    ephemerals = {path for owned in tree.ephemerals.values() for path in owned}
    assert ephemerals == kinds[NodeKind.EPHEMERAL]
    assert all(
        nodes[path].ephemeral_owner == owner for owner, owned in tree.ephemerals.items() for path in owned
    )
    assert all(tree.ephemerals.values())
    assert tree.ephemerals.keys() <= desk.replica.sessions.by_id.keys()
    assert set(tree.containers) == kinds[NodeKind.CONTAINER]
    assert set(tree.ttl_nodes) == kinds[NodeKind.TTL]
    limits = {path for path in nodes if path.startswith(QUOTA_NODE) and path.endswith(f"/{LIMIT_NODE}")}
    assert set(tree.quotas.paths) == {path[len(QUOTA_NODE) : -len(LIMIT_NODE) - 1] for path in limits}
    if not any(path.startswith(f"{QUOTA_NODE}/") for path in nodes) and not quotas:
        assert tree.data_size == sum(len(path) + len(node.data or b"") for path, node in nodes.items())
    digests = (node_digest(path, node) for path, node in nodes.items() if not path.startswith("/zookeeper/"))
    assert tree.digest.enabled
    assert tree.digest.value() == sum(digests) & 0xFFFF_FFFF_FFFF_FFFF
    replica = desk.replica
    assert not replica.in_flight
    assert not replica.pending.changes
    assert not replica.pending.latest
    assert replica.last_proposed == tree.last_zxid


def check_watches(desk: Desk) -> None:
    """Both ways of looking at each table say the same, and only of connections that are there."""

    def flat(table: dict[Any, dict[Any, int]]) -> dict[tuple[Any, Any], int]:
        assert all(table.values())
        return {(a, b): modes for a, inner in table.items() for b, modes in inner.items()}

    for table in (desk.tree.watches.data, desk.tree.watches.child):
        assert isinstance(table, WatchTable)
        by_path = flat(table.by_path)
        assert {
            (path, watcher): modes for (watcher, path), modes in flat(table.by_watcher).items()
        } == by_path
        assert table.recursive == sum(bool(modes & RECURSIVE) for modes in by_path.values())
        assert 0 not in by_path.values()
        assert table.by_watcher.keys() <= desk.service.connections.keys()
        assert all(len(paths) <= 20 for paths in table.by_watcher.values())


def check_sessions(desk: Desk) -> None:
    """Each session stands in one bucket, and knows its connection as that knows its session."""
    sessions = desk.replica.sessions
    buckets = [session for bucket in sessions.deadlines.values() for session in bucket]
    assert len(buckets) == len(set(buckets))
    assert set(buckets) == set(sessions.by_id.values())
    for connection in desk.service.connections:
        if connection.session is not None:
            assert connection.session.owner is connection
    owners = [session.owner for session in buckets if session.owner is not None]
    assert all(owner in desk.service.connections for owner in owners)


def longer(examples: int) -> Callable[[Any], Any]:
    """The settings of a run: the short one is the same every time, the long one never."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples == DEFAULT,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


who = st.integers(0, 2)


# --- the tests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("examples", EXAMPLES)
def test_random_bytes(examples: int) -> None:
    """Before the handshake, after it, and in the middle of a frame."""

    @longer(examples)
    @given(st.lists(st.tuples(who, booleans, st.binary(max_size=60)), max_size=12), st.binary(max_size=80))
    @example([(0, True, b"\xff" * 40), (1, False, b"\0" * 40)], b"\0\0\0\x2c" + bytes(50))
    def run(turns: list[tuple[int, bool, bytes]], greeting: bytes) -> None:
        scene = Scene()
        with nothing_trips():
            stranger = scene.desk.connection()
            stranger.send(greeting)
            for number, framed, data in turns:
                scene.say(number, len(data).to_bytes(4, "big") + data if framed else data)
                scene.go_on()
            stranger.hang_up()
            scene.end()

    run()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("held", [False, True])
def test_valid_requests_in_any_order(examples: int, held: bool) -> None:
    """Every operation, on a tree that others change at the same time; with a log that holds writes back, any
    number of them under way at once."""

    @longer(examples)
    @given(
        st.lists(st.tuples(who, st.lists(requests(paths, plain_data), min_size=1, max_size=8)), max_size=8),
        st.data(),
    )
    def run(turns: list[tuple[int, list[tuple[int, Record | bytes]]]], data: st.DataObject) -> None:
        scene = Scene(held=held)
        with nothing_trips():
            for number, batch in turns:
                scene.say(number, b"".join(map(encoded, batch)))
                if held:
                    scene.desk.flush(data.draw(st.integers(0, 4)))
                if data.draw(st.integers(0, 3)) == 0:
                    scene.go_on()
                if data.draw(st.integers(0, 5)) == 0:
                    scene.look_after_containers()
                if data.draw(st.integers(0, 7)) == 0:
                    scene.strangers[number].hang_up()
            scene.go_on()
            scene.end()

    run()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("held", [False, True])
def test_mutated_requests(examples: int, held: bool) -> None:
    """Frames that are almost right: cut, too long, with other numbers in them."""
    frames = requests(paths, plain_data).map(encoded)

    @longer(examples)
    @given(
        st.lists(
            st.tuples(who, st.lists(st.one_of(frames, mutated(frames)), min_size=1, max_size=6)), max_size=8
        )
    )
    def run(turns: list[tuple[int, list[bytes]]]) -> None:
        scene = Scene(held=held)
        with nothing_trips():
            for number, batch in turns:
                scene.say(number, b"".join(batch))
                scene.desk.flush(2)
            scene.go_on()
            scene.end()

    run()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("enforced", [False, True])
def test_quotas_and_what_is_written_into_them(examples: int, enforced: bool) -> None:
    """60: limits and counters that are missing, null or garbage, under nodes that come and go."""

    @longer(examples)
    @given(
        st.lists(
            st.tuples(who, st.lists(requests(any_paths, quota_data), min_size=1, max_size=8)), max_size=8
        )
    )
    def run(turns: list[tuple[int, list[tuple[int, Record | bytes]]]]) -> None:
        scene = Scene(enforce_quota=enforced)
        furniture: Sequence[str] = [
            QUOTA_NODE + "/q",
            "/q",
            f"{QUOTA_NODE}/q/{LIMIT_NODE}",
            f"{QUOTA_NODE}/q/{STAT_NODE}",
        ]
        scene.say(0, b"".join(encoded(create(path, b"count=-1,bytes=-1")) for path in furniture))
        with nothing_trips():
            for number, batch in turns:
                scene.say(number, b"".join(map(encoded, batch)))
            scene.go_on()
            scene.desk.flush()
            check_tree(scene.desk, quotas=True)
            check_watches(scene.desk)

    run()


def test_the_scene_would_notice() -> None:
    """A stranger that did harm would be seen: these checks are not idle."""

    def touch_secretly(desk: Desk) -> None:
        desk.tree.digest.value()
        desk.tree.nodes["/good"].version = 7

    for harm in (
        lambda desk: desk.tree.nodes.pop("/good"),
        lambda desk: desk.tree.ephemerals.setdefault(1, {}).update({"/good": None}),
        lambda desk: setattr(desk.tree, "data_size", 0),
        touch_secretly,
        lambda desk: desk.tree.nodes["/"].children.pop("good"),
        lambda desk: desk.replica.pending.latest.update({"/x": None}),
    ):
        scene = Scene()
        harm(scene.desk)  # type: ignore[no-untyped-call]
        with pytest.raises(AssertionError):
            check_tree(scene.desk, quotas=False)
    scene = Scene()
    scene.strangers[0].ask((OpCode.EXISTS, ExistsRequest("/a", True)))
    scene.desk.tree.watches.data.by_path.clear()
    with pytest.raises(AssertionError):
        check_watches(scene.desk)
    scene.desk.replica.sessions.deadlines.clear()
    with pytest.raises(AssertionError):
        check_sessions(scene.desk)
    with pytest.raises(AssertionError), nothing_trips():
        logging.getLogger("pyzkserver.anything").error("tripped", exc_info=ZeroDivisionError())
