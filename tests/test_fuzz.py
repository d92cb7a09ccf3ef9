"""Random and hostile bytes cost the connection they come from, and nothing else.

Three strangers say whatever they like while a well-behaved client goes on with its work.  Nothing may be
raised, nothing may be logged as a defect of ours, the well-behaved one gets the right answers, and in the end
everything that is kept twice still agrees.

Short stories are drawn and shrunk by hypothesis, long ones come from a seed; what is said in either is made
by a ``Stranger``.  ``pytest -m slow`` tells more of them, FUZZ_STORIES of each kind.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving.talk import OPEN, Desk, Reply, create, data_of, delete, get, hello, packet, set_data

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

MORE = int(os.environ.get("FUZZ_STORIES", "500"))
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]


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
ODD = [
    "",
    "/a/",
    "a",
    "//",
    "/.",
    "/a/../e",
    "/\0",
    "/\U0001f600",
    "/zookeeper",
    "/zookeeper/config",
    None,
    None,
]
DATA = [None, b"", b"x", b"data" * 20]
QUOTA_DATA = [
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
NUMBERS = [-1, -1, -1, -1, -1, -1, 0, 0, 1, 2, 3, -2, -(2**31), 2**31 - 1]
FLAGS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 4, 5, 6, 7, -1]
TTLS = [1, 1000, 1000, 1000, 1000, -1, 2**40 - 1, 2**40, 0, -(2**63), 2**63 - 1]
SCHEMES = ["world", "world", "auth", "digest", "ip", "super", "sasl", "", None]
IDS = ["anyone", "anyone", "", "user:hash", ":", "127.0.0.1", "127.0.0.0/8", "1.2.3", "::1/129", None]
ACLS = [OPEN] * 25 + [
    None,
    [],
    [ACL(31, Id("digest", digest_of("user:password")))],
    [ACL(31, Id("auth", "x"))],
    [ACL(1, OPEN[0].id)],
]


class Stranger:
    """Says anything, as ``random`` has it: requests of every kind over a few paths."""

    def __init__(self, random: Random, *, about_quotas: bool = False) -> None:
        self.random = random
        self._about_quotas = about_quotas
        self._by_op: dict[int, Callable[[], Record | bytes]] = {
            OpCode.CREATE: self._create,
            OpCode.CREATE2: self._create,
            OpCode.CREATE_CONTAINER: self._create,
            OpCode.CREATE_TTL: self._create_ttl,
            OpCode.DELETE: self._delete,
            OpCode.DELETE_CONTAINER: lambda: DeleteContainerRequest(self.path()),
            OpCode.EXISTS: lambda: ExistsRequest(self.path(), self.flag()),
            OpCode.GET_DATA: lambda: GetDataRequest(self.path(), self.flag()),
            OpCode.SET_DATA: self._set_data,
            OpCode.CHECK: self._check,
            OpCode.SYNC: lambda: SyncRequest(self.path()),
            OpCode.GET_CHILDREN: lambda: GetChildrenRequest(self.path(), self.flag()),
            OpCode.GET_CHILDREN2: lambda: GetChildren2Request(self.path(), self.flag()),
            OpCode.GET_ALL_CHILDREN_NUMBER: lambda: GetAllChildrenNumberRequest(self.path()),
            OpCode.GET_EPHEMERALS: lambda: GetEphemeralsRequest(self.path()),
            OpCode.GET_ACL: lambda: GetACLRequest(self.path()),
            OpCode.SET_ACL: self._set_acl,
            OpCode.MULTI: self._multi,
            OpCode.MULTI_READ: self._multi,
            OpCode.SET_WATCHES: lambda: SetWatches(self.number(), *[self.paths() for _ in range(3)]),
            OpCode.SET_WATCHES2: lambda: SetWatches2(self.number(), *[self.paths() for _ in range(5)]),
            OpCode.ADD_WATCH: lambda: AddWatchRequest(self.path(), random.choice([0, 1, 1, 2])),
            OpCode.CHECK_WATCHES: lambda: CheckWatchesRequest(self.path(), random.randint(0, 6)),
            OpCode.REMOVE_WATCHES: lambda: RemoveWatchesRequest(self.path(), random.randint(0, 6)),
            OpCode.RECONFIG: lambda: ReconfigRequest(self.path(), None, self.path(), self.number()),
            OpCode.PING: lambda: b"",
            OpCode.AUTH: self._auth,
            OpCode.SASL: lambda: GetSASLRequest(random.choice([None, b"", b"token", b"token"])),
            OpCode.WHO_AM_I: lambda: b"",
            OpCode.CREATE_SESSION: lambda: b"\0\0\x27\x10",
            OpCode.CLOSE_SESSION: lambda: b"",
        }
        assert self._by_op.keys() == OPERATIONS.keys()
        final = {OpCode.CLOSE_SESSION, OpCode.CHECK}  # after these nobody is there to say more
        often = [OpCode.CREATE, OpCode.CREATE2, OpCode.DELETE, OpCode.SET_DATA, OpCode.MULTI]
        self._ops = [op for op in self._by_op if op not in final] * 2 + [*final] + often * 4

    def path(self) -> str | None:
        kind = self.random.randrange(8)
        if kind == 0:
            return self.random.choice(ODD)
        return self.random.choice(QUOTA if self._about_quotas and kind > 3 else TREE)

    def paths(self) -> list[str]:
        return [self.path() or "" for _ in range(self.random.randrange(4))]

    def data(self) -> bytes | None:
        return self.random.choice(QUOTA_DATA if self._about_quotas else DATA)

    def number(self) -> int:
        return self.random.choice(NUMBERS)

    def flag(self) -> bool:
        return self.random.random() < 0.5

    def acl(self) -> list[ACL] | None:
        if self.random.randrange(15):
            return self.random.choice(ACLS)
        return [self._entry() for _ in range(self.random.randrange(4))]

    def _entry(self) -> ACL:
        who = Id(self.random.choice(SCHEMES), self.random.choice(IDS))
        return ACL(self.random.choice([0, 1, 2, 4, 8, 16, 31, 31, -1]), who)

    def _create(self) -> CreateRequest:
        return CreateRequest(self.path(), self.data(), self.acl(), self.random.choice(FLAGS))

    def _create_ttl(self) -> CreateTTLRequest:
        flags = self.random.choice([5, 5, 5, 5, 6, 6, *FLAGS])
        return CreateTTLRequest(self.path(), self.data(), self.acl(), flags, self.random.choice(TTLS))

    def _delete(self) -> DeleteRequest:
        return DeleteRequest(self.path(), self.number())

    def _set_data(self) -> SetDataRequest:
        return SetDataRequest(self.path(), self.data(), self.number())

    def _set_acl(self) -> SetACLRequest:
        path = self.path()  # a root that is closed once stays so, and then little else can happen
        return SetACLRequest(path, OPEN if path in ("/", "") else self.acl(), self.number())

    def _check(self) -> CheckVersionRequest:
        return CheckVersionRequest(self.path(), self.number())

    def _auth(self) -> AuthPacket:
        credentials = self.random.choice([b"user:password", b"", b":", b"\xff", b"super:test", b"super:test"])
        return AuthPacket(0, self.random.choice(["digest", "digest", "ip"]), credentials)

    def _multi(self) -> MultiRequest:
        """Of writes, of reads, or, rarely, of both."""
        writes = [op for op in self._by_op if op in (1, 2, 5, 13, 15, 19, 21)]
        reads = [int(OpCode.GET_DATA), int(OpCode.GET_CHILDREN)]
        ops = self.random.choice([writes, writes, writes, reads, reads, writes + reads])
        parts = []
        for _ in range(self.random.randrange(6)):
            op = self.random.choice(ops)
            body = self._by_op[op]()
            assert isinstance(body, Record)
            parts.append(MultiOp(OpCode(op), body))
        return MultiRequest(parts)

    def request(self) -> bytes:
        """The frame of a well-formed request."""
        op = self.random.choice(self._ops)
        return packet(self.random.choice([7, 8, -8, 0, 2**31 - 1]), op, self._by_op[op]())

    def mistake(self) -> bytes:
        """A frame with something wrong in it; its length is right, most often."""
        frame = bytearray(self.request())
        for _ in range(self.random.randint(1, 3)):
            how = self.random.randrange(5)
            at = self.random.randrange(8, len(frame)) if len(frame) > 8 else 8
            if how < 2 and at < len(frame):
                frame[at] = self.random.randrange(256)
            elif how == 2:
                frame[at : at + 4] = self.number().to_bytes(4, "big", signed=True)
            elif how == 3:
                del frame[at:]
            else:
                frame += self.random.randbytes(self.random.randint(1, 8))
        if self.random.randrange(10):
            frame[:4] = (len(frame) - 4).to_bytes(4, "big")
        return bytes(frame)

    def speech(self, mistakes: bool) -> bytes:
        """A few frames in one piece."""
        frames = []
        for _ in range(self.random.randint(1, 6)):
            frames.append(self.mistake() if mistakes and self.flag() else self.request())
        return b"".join(frames)


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
        self.work(set_data(path, b"more", 0), 0)
        self.work(set_data(path, b"less", 0), -103)
        assert data_of(self.work(get(path), 0)) == b"more"
        self.work(delete(path), 0)
        self.work(get(path), -101)

    def look_after_containers(self) -> None:
        replica = self.desk.replica
        for path in upkeep.container_candidates(replica, self.desk.host.wall_ms(), 0):
            replica.submit(Proposal(OpCode.DELETE_CONTAINER, DeleteContainerRequest(path), 0))
        self.desk.settle()

    def end(self, *, quotas: bool = False) -> None:
        """Everything is flushed, and all that is kept twice agrees: now, and when everybody is gone."""
        self.desk.flush()
        check_tree(self.desk, quotas=quotas)
        check_watches(self.desk)
        check_sessions(self.desk)
        self.desk.pass_time(42_001)
        self.look_after_containers()
        self.desk.flush()
        assert not self.desk.replica.sessions.by_id
        assert self.desk.tree.ephemeral_count() == 0
        assert len(self.desk.tree.watches) == 0
        check_tree(self.desk, quotas=quotas)


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
    assert not replica.pending.latest
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


# --- the stories --------------------------------------------------------------------------------------------

KINDS = ["requests", "mistakes", "quotas", "enforced quotas"]


def tell(random: Random, kind: str, held: bool, turns: int) -> None:
    """One story, as ``random`` has it."""
    quotas = "quotas" in kind
    scene = Scene(held=held, enforce_quota="enforced" in kind)
    stranger = Stranger(random, about_quotas=quotas)
    if quotas:
        furniture: Sequence[str] = (
            f"{QUOTA_NODE}/q",
            "/q",
            f"{QUOTA_NODE}/q/{LIMIT_NODE}",
            f"{QUOTA_NODE}/q/{STAT_NODE}",
        )
        scene.say(0, b"".join(packet(1, *create(path, b"count=-1,bytes=-1")) for path in furniture))
    turn = 0
    try:
        with nothing_trips():
            while turn < turns:
                turn += 1
                number = random.randrange(3)
                scene.say(number, stranger.speech(kind == "mistakes"))
                happening = random.randrange(12)
                if held:
                    scene.desk.flush(random.randrange(5))
                if happening < 3:
                    scene.go_on()
                elif happening == 3:
                    scene.look_after_containers()
                elif happening == 4:
                    scene.strangers[number].hang_up()
                elif happening == 5:
                    scene.say(number, random.randbytes(random.randrange(40)))
            scene.go_on()
            scene.end(quotas=quotas)
    except BaseException as error:
        error.add_note(f"in turn {turn} of {turns}")
        raise


def short(examples: int) -> Callable[[Any], Any]:
    """The settings of short stories: the few are the same every time, the many never."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=examples < MORE,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.mark.parametrize("examples", [40, pytest.param(MORE, marks=SLOW)])
def test_random_bytes(examples: int) -> None:
    """Before the handshake, after it, and in the middle of a frame."""

    @short(examples)
    @given(
        st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.binary(max_size=60)), max_size=12),
        st.binary(max_size=80),
    )
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


@pytest.mark.parametrize("examples", [10, pytest.param(MORE, marks=SLOW)])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
def test_short_stories(kind: str, held: bool, examples: int) -> None:
    """What goes wrong here goes wrong in few words: hypothesis finds the fewest."""

    @short(examples)
    @given(st.randoms(use_true_random=False))
    def run(random: Random) -> None:
        tell(random, kind, held, turns=6)

    run()


SEEDS = [*range(2), *(pytest.param(seed, marks=SLOW) for seed in range(2, MORE))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
def test_long_stories(kind: str, held: bool, seed: int) -> None:
    """Every operation a hundred times, on a tree that others change at the same time: well-formed and not
    quite, with quotas that are garbage, with a log that holds back what it gets."""
    tell(Random(seed), kind, held, turns=500)


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
