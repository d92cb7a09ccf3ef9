"""Observer masters (ZOOKEEPER-3140): followers that bring observers up, tell them what is decided, and ask for them.

First scripted conversations with a fake observer, as in ``test_conversations.py``; then observers of this package
that choose among masters; then whole ensembles.
"""

from typing import Any

import pytest
import trio

from pyzkserver.errors import ErrorCode
from pyzkserver.quorum import observer_master, outbox
from pyzkserver.quorum.learner_handler import LearnerHandler
from pyzkserver.quorum.master_choice import MasterChoice
from pyzkserver.quorum.members import Members
from pyzkserver.serving import under_way
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.sessions import ANYBODY
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.treestream import receive_tree
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.election import ServerState
from pyzkserver.wire.quorum import (
    PacketType,
    encode_identities,
    encode_revalidate,
    encode_revalidated,
    encode_touches,
    packet,
    request_packet,
    short_packet,
    split_activation,
)
from pyzkserver.wire.requests import CreateRequest, OpCode, ReconfigRequest, SyncRequest
from pyzkserver.wire.txns import CreateSessionTxn, CreateTxn, ErrorTxn

from .stage import Client, Member, Stage, members_text, run
from .test_conversations import Wire, info, registered
from .test_ensemble import staged

P = PacketType
PORT = 2191
WHO = encode_identities((("ip", "10.0.0.4"),))


def served(voting: int = 3, observing: int = 1, **settings: Any) -> Any:
    """A test on a stage whose followers serve observers."""
    return staged(voting, observing, observer_master_port=PORT, **settings)


async def voters(stage: Stage, count: int = 3) -> tuple[Member, Member]:
    """The leader, and a follower that serves observers.  The observer, member 4, is the test's."""
    await stage.start(*range(1, count + 1))
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    await stage.until(lambda: listens(follower))
    return leader, follower


def listens(follower: Member) -> bool:
    return (f"m{follower.sid}", PORT) in follower.stage.network._listeners


async def call(stage: Stage, master: Member, sid: int = 4) -> Wire:
    return Wire(await stage.network.connect(f"m{sid}", f"m{master.sid}", PORT))


async def observing(stage: Stage, master: Member, sid: int = 4) -> Wire:
    """An observer that has come up to date by this follower."""
    wire = await call(stage, master, sid)
    last = master.replica.tree.last_zxid
    await wire.say(packet(P.OBSERVERINFO, 0, info(sid)))
    epoch = (await wire.hear(P.LEADERINFO)).zxid >> 32
    await wire.say(packet(P.ACKEPOCH, last, b"\0\0\0\0"))
    assert (await wire.hear(P.DIFF)).zxid == last
    await wire.hear(P.NEWLEADER)
    await wire.say(short_packet(P.ACK, epoch << 32))
    await wire.hear(P.UPTODATE)
    await wire.say(short_packet(P.ACK, epoch << 32))
    return wire


def create(session: int, xid: int, path: str, flags: int = 0) -> bytes:
    body = CreateRequest(path, b"", list(OPEN_ACL), flags).encode()
    return request_packet(session, xid, OpCode.CREATE, body, WHO)


def sync(session: int, xid: int) -> bytes:
    return request_packet(session, xid, OpCode.SYNC, b"\0\0\0\1/", WHO)


def new_session(session: int, timeout: int = 6000) -> bytes:
    return request_packet(session, 0, OpCode.CREATE_SESSION, CreateSessionTxn(timeout).encode(), WHO)


async def still_follows(leader: Member, follower: Member) -> None:
    """Nothing of it was the follower's loss: it is in the same role, and its clients write."""
    assert follower.state is ServerState.FOLLOWING
    assert follower.peer.learner is not None
    client = await Client.new(follower.replica)
    await client.create("/afterwards")
    assert leader.replica.tree.last_zxid >> 32 == 1, "nobody was elected meanwhile"


# --- a fake observer ----------------------------------------------------------------------------------------


@served()
async def test_an_observer_is_brought_up_and_asks(stage: Stage) -> None:
    """SNAP to an empty one; then session, write, an unreadable request and sync, answered in order, with INFORM."""
    leader, follower = await voters(stage)
    client = await Client.new(leader.replica)
    await client.create("/before")
    await stage.until_same()
    wire = await call(stage, follower)
    epoch = await registered(wire, kind=P.OBSERVERINFO)
    assert epoch == 1
    snap = await wire.hear(P.SNAP)
    assert snap.zxid == follower.replica.tree.last_zxid
    tree = DataTree()
    snapshot, rest = await receive_tree(lambda: wire.stream.receive_some(65536), tree, wire.reader.rest())
    assert "/before" in tree.nodes
    assert snapshot.sessions == {client.session_id: 4000}
    wire.reader.add(rest)
    new = await wire.hear(P.NEWLEADER)
    assert new.zxid == epoch << 32
    assert b"server.4=m4:2888:3888:observer" in new.body
    await wire.say(short_packet(P.ACK, epoch << 32))
    await wire.hear(P.UPTODATE)
    await wire.say(short_packet(P.ACK, epoch << 32))

    session = 4 << 56 | 77
    await wire.say(
        new_session(session),
        create(session, 1, "/asked", 1),
        request_packet(session, 2, OpCode.DELETE, b"garbage", WHO),
        sync(session, 3),
    )
    told = [await wire.hear(P.INFORM) for _ in range(3)]
    await wire.hear(P.SYNC)
    zxids = [one.zxid for one in told]
    assert zxids == list(range(zxids[0], zxids[0] + 3))
    txns = [decode_transaction(one.body).txn for one in told]
    assert [(txn.session_id, txn.cxid) for txn in txns] == [(session, 0), (session, 1), (session, 2)]
    assert isinstance(txns[1].body, CreateTxn)
    assert txns[1].body.ephemeral
    assert isinstance(txns[2].body, ErrorTxn)
    assert (await wire.hear(P.PING)).zxid == follower.replica.tree.last_zxid


@served()
async def test_touches_reach_the_leader(stage: Stage) -> None:
    """An observer's clients live as long as the observer says that they were heard of, and not longer."""
    leader, follower = await voters(stage)
    wire = await observing(stage, follower)
    session = 4 << 56 | 77
    await wire.say(new_session(session, 800))
    await stage.until(lambda: session in follower.replica.sessions.by_id)
    assert decode_transaction((await wire.hear(P.INFORM)).body).txn.op == OpCode.CREATE_SESSION
    for _ in range(30):
        assert (await wire.hear(P.PING, P.INFORM)).type == P.PING
        await wire.say(packet(P.PING, 0, encode_touches([(session, 800), (12345, 800)])))
        await stage.until(lambda: follower.replica.sessions.touched)
        assert follower.replica.sessions.touched == {session: 800}, "of what nobody knows nothing is kept"
    assert session in leader.replica.sessions.by_id
    assert leader.replica.sessions.by_id[session].timeout == 800
    closed = None
    while closed is None:
        one = await wire.hear(P.PING, P.INFORM)
        if one.type == P.INFORM:
            closed = decode_transaction(one.body).txn
        else:
            await wire.say(packet(P.PING, 0, b""))
    assert (closed.session_id, closed.op) == (session, OpCode.CLOSE_SESSION)


@served()
async def test_sessions_are_resumed_by_the_leaders_word(stage: Stage) -> None:
    """Each REVALIDATE gets its own answer, also where several ask for one session at once."""
    leader, follower = await voters(stage)
    client = await Client.new(leader.replica)
    await stage.until_same()
    one, other = await observing(stage, follower, 4), await observing(stage, follower, 5)
    answers: list[bool] = []
    follower.replica.role.resume(client.session_id, 4000, answers.append)
    for wire in (one, other):
        await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(client.session_id, 5000)))
        await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(12345, 4000)))
    for wire in (one, other):
        assert (await wire.hear(P.REVALIDATE)).body == encode_revalidated(client.session_id, True)
        assert (await wire.hear(P.REVALIDATE)).body == encode_revalidated(12345, False)
    assert answers == [True]
    assert leader.replica.sessions.by_id[client.session_id].timeout == 5000
    assert leader.replica.sessions.by_id[client.session_id].holder not in (None, ANYBODY)


@served()
async def test_who_moved_is_not_heard_where_it_was(stage: Stage) -> None:
    """The leader sees one connection for all observers of this follower, so the follower has to look."""
    leader, follower = await voters(stage)
    one, other = await observing(stage, follower, 4), await observing(stage, follower, 5)
    session = 4 << 56 | 77
    await one.say(new_session(session), create(session, 1, "/first"))
    await stage.until(lambda: "/first" in follower.replica.tree.nodes)
    await other.say(packet(P.REVALIDATE, -1, encode_revalidate(session, 6000)))
    await other.hear(P.REVALIDATE, P.INFORM)
    await one.say(create(session, 2, "/late"), sync(4 << 56 | 78, 1))
    while (await one.hear(P.SYNC, P.INFORM)).type != P.SYNC:
        pass
    await other.say(create(session, 2, "/second"))
    await stage.until(lambda: "/second" in leader.replica.tree.nodes)
    assert "/late" not in leader.replica.tree.nodes
    await one.say(request_packet(session, 3, OpCode.CLOSE_SESSION, b"", WHO))
    await stage.until(lambda: session not in leader.replica.sessions.by_id, 1)


@served()
async def test_a_client_of_the_follower_moves_to_an_observer_and_back(stage: Stage) -> None:
    """Its old connection ends; and when it is back, the observer speaks for it in vain."""
    _, follower = await voters(stage)
    wire = await observing(stage, follower)
    client = await Client.new(follower.replica)
    await wire.hear(P.INFORM)
    await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(client.session_id, 6000)))
    assert (await wire.hear(P.REVALIDATE)).body == encode_revalidated(client.session_id, True)
    assert client.ended
    answers: list[bool] = []
    follower.replica.role.resume(client.session_id, 4000, answers.append)
    await wire.say(create(client.session_id, 50, "/late"), sync(1, 1))
    refused = decode_transaction((await wire.hear(P.INFORM)).body).txn
    assert (refused.session_id, refused.cxid, refused.op) == (client.session_id, 50, OpCode.ERROR)
    await wire.hear(P.SYNC)
    assert answers == [True]
    assert "/late" not in follower.replica.tree.nodes


@served()
async def test_one_that_lags_gets_what_it_lacks(stage: Stage) -> None:
    """DIFF with what it has not, and nothing twice, while more comes."""
    leader, follower = await voters(stage)
    client = await Client.new(leader.replica)
    await client.create("/had")
    await stage.until_same()
    had = follower.replica.tree.last_zxid
    await client.create("/lacked")
    await stage.until_same()
    wire = await call(stage, follower)
    await wire.say(packet(P.OBSERVERINFO, 0, info(4)))
    await wire.hear(P.LEADERINFO)
    await wire.say(packet(P.ACKEPOCH, had, b"\0\0\0\0"))
    assert (await wire.hear(P.DIFF)).zxid == had + 1
    assert [(one.type, one.zxid) for one in [await wire.hear(), await wire.hear()]] == [
        (P.PROPOSAL, had + 1),
        (P.COMMIT, had + 1),
    ]
    await client.create("/meanwhile")
    await wire.hear(P.NEWLEADER)
    assert (await wire.hear(P.INFORM)).zxid == had + 2
    await wire.say(short_packet(P.ACK, 1 << 32))
    await wire.hear(P.UPTODATE)


@served()
async def test_one_that_is_ahead_is_waited_for(stage: Stage) -> None:
    """It heard from another member what this follower is about to hear: nothing of that is taken back."""
    leader, follower = await voters(stage)
    client = await Client.new(leader.replica)
    await stage.until_same()
    ahead = follower.replica.tree.last_zxid + 1
    wire = await call(stage, follower)
    await wire.say(packet(P.OBSERVERINFO, 0, info(4)))
    await wire.hear(P.LEADERINFO)
    await wire.say(packet(P.ACKEPOCH, ahead, b"\0\0\0\0"))
    with trio.move_on_after(0.5) as scope:
        await wire.hear()
    assert scope.cancelled_caught
    await client.create("/ahead")
    assert (await wire.hear(P.DIFF)).zxid == ahead
    await wire.hear(P.NEWLEADER)


@served()
async def test_one_that_has_a_leaders_tree_is_not_ahead(stage: Stage) -> None:
    """Its zxid is the beginning of the epoch, in which nothing happened yet, and the follower's an earlier one."""
    leader, _ = await voters(stage)
    client = await Client.new(leader.replica)
    await client.create("/before")
    await stage.until_same()
    await stage.kill(leader.sid)
    left = stage.running()
    successor = await stage.formed()
    follower = next(member for member in left if member is not successor)
    await stage.until(lambda: listens(follower))
    assert follower.replica.tree.last_zxid >> 32 == 1
    wire = await call(stage, follower)
    assert await registered(wire, kind=P.OBSERVERINFO, last=2 << 32) == 2
    with trio.fail_after(0.1):
        await wire.hear()


@served()
async def test_one_that_is_ahead_for_ever_is_sent_away(stage: Stage) -> None:
    """After syncLimit: another master may have more."""
    leader, follower = await voters(stage)
    wire = await call(stage, follower)
    await registered(wire, kind=P.OBSERVERINFO, last=follower.replica.tree.last_zxid + 1000)
    assert await wire.is_closed()
    await still_follows(leader, follower)


@served()
async def test_what_an_earlier_epoch_left_is_taken_back(stage: Stage) -> None:
    """An observer that voted once may hold what was never decided."""
    leader, follower = await voters(stage)
    client = await Client.new(leader.replica)
    await client.create("/decided")
    await stage.kill(leader.sid)
    left = stage.running()
    successor = await stage.formed()
    follower = next(member for member in left if member is not successor)
    await stage.until(lambda: listens(follower))
    last = follower.replica.tree.last_zxid
    assert last >> 32 == 1
    wire = await call(stage, follower)
    assert await registered(wire, kind=P.OBSERVERINFO, last=last + 3) == 2
    assert (await wire.hear(P.TRUNC)).zxid == last


@served()
async def test_a_connection_that_ended_gets_no_ones_answer(stage: Stage) -> None:
    """What it asked keeps its place in the line, and its answer goes nowhere."""
    _, follower = await voters(stage)
    one, other = await observing(stage, follower, 4), await observing(stage, follower, 5)
    await one.say(sync(1, 1), packet(P.REVALIDATE, -1, encode_revalidate(1, 4000)))
    await one.stream.aclose()
    await other.say(sync(2, 1), packet(P.REVALIDATE, -1, encode_revalidate(2, 4000)))
    await other.hear(P.SYNC)
    assert (await other.hear(P.REVALIDATE)).body == encode_revalidated(2, False)
    client = await Client.new(follower.replica)
    await client.sync()
    assert follower.peer.learner is not None
    assert follower.peer.learner.following.questions.waiting == 0


@served()
async def test_what_monitoring_is_told(stage: Stage) -> None:
    """mntr's zk_synced_observers, at a follower that serves observers (``FollowerZooKeeperServer``)."""
    leader, follower = await voters(stage)
    assert follower.replica.role.gauges() == {"synced_observers": 0}
    wire = await observing(stage, follower)
    assert follower.replica.role.gauges() == {"synced_observers": 1}
    assert leader.replica.role.gauges()["synced_observers"] == 0
    assert [handler.sid for handler in follower.peer.handlers] == [4]
    await wire.stream.aclose()
    await stage.until(lambda: follower.replica.role.gauges() == {"synced_observers": 0})


@served(reconfig_enabled=True)
async def test_only_what_is_in_force_is_announced(stage: Stage) -> None:
    """Not what was proposed: whether that is decided, nobody knows, and an observer would act by it at once."""
    _, follower = await voters(stage)
    local = follower.peer.local
    local.seen = local.members.with_version(local.members.version + 1)
    wire = await call(stage, follower)
    await registered(wire, kind=P.OBSERVERINFO, last=follower.replica.tree.last_zxid)
    await wire.hear(P.DIFF, P.SNAP)
    assert (await wire.hear(P.NEWLEADER)).body.decode() == local.members.text


@served()
async def test_one_that_connects_again_replaces_its_old_connection(stage: Stage) -> None:
    """The old one is half open, most likely."""
    _, follower = await voters(stage)
    old, new = await observing(stage, follower), await observing(stage, follower)
    assert await old.is_closed()
    await new.say(sync(1, 1))
    await new.hear(P.SYNC)


# bad ones

BAD = [
    ("garbage", b"\x7f" * 200, "it sent what cannot be read"),
    ("a follower", packet(P.FOLLOWERINFO, 0, info(4)), "this member serves observers: it does not lead"),
    ("not a learner", short_packet(P.ACK, 1), "ACK where FOLLOWERINFO or OBSERVERINFO was due"),
    (
        "a newer configuration",
        packet(P.OBSERVERINFO, 0, info(4, config=5 << 32)),
        "is newer than this member's",
    ),
    (
        "what only leaders send",
        packet(P.OBSERVERINFO, 0, info(4)) + short_packet(P.COMMIT, 5),
        "COMMIT where ACKEPOCH was due",
    ),
]


@pytest.mark.parametrize(("what", "raw", "complaint"), BAD, ids=[what for what, _, _ in BAD])
def test_a_bad_beginning_costs_its_connection(
    what: str, raw: bytes, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else; and it is said once, however often it comes."""

    @served()
    async def scenario(stage: Stage) -> None:
        leader, follower = await voters(stage)
        caplog.clear()
        for _ in range(5):
            wire = await call(stage, follower)
            await wire.say(raw)
            assert await wire.is_closed()
        await still_follows(leader, follower)

    caplog.set_level("INFO", logger="pyzkserver.quorum")
    scenario()
    [said] = caplog.records
    assert complaint in said.getMessage()
    assert "to the observerMasterPort" in said.getMessage()


BAD_LATER = [
    ("a short REQUEST", packet(P.REQUEST, -1, b"short")),
    ("a session without a timeout", request_packet(7, 0, OpCode.CREATE_SESSION, b"\0", WHO)),
    ("a short REVALIDATE", packet(P.REVALIDATE, -1, b"short")),
    ("half a touch", packet(P.PING, 0, b"\0" * 11)),
]


@pytest.mark.parametrize("raw", [raw for _, raw in BAD_LATER], ids=[what for what, _ in BAD_LATER])
def test_nonsense_later_costs_its_connection(raw: bytes) -> None:
    """It must not reach the leader, who would end the follower's connection for it."""

    @served()
    async def scenario(stage: Stage) -> None:
        leader, follower = await voters(stage)
        wire = await observing(stage, follower)
        await wire.say(raw)
        assert await wire.is_closed()
        await still_follows(leader, follower)

    scenario()


@served()
async def test_what_no_observer_sends_is_passed_over(stage: Stage) -> None:
    """As a leader does it: nothing of it goes further."""
    leader, follower = await voters(stage)
    wire = await observing(stage, follower)
    await wire.say(packet(P.PROPOSAL, 1 << 32 | 9, b"\0" * 30), short_packet(99, 0))
    await wire.say(sync(1, 1))
    await wire.hear(P.SYNC)
    await still_follows(leader, follower)


@served()
async def test_a_read_is_no_write(stage: Stage) -> None:
    """An observer passes it off as one: such a transaction could be applied nowhere, and would end them all."""
    leader, follower = await voters(stage)
    wire = await observing(stage, follower)
    nothing = b"\xff\xff\xff\xff\1\xff\xff\xff\xff"
    for op in (OpCode.MULTI_READ, OpCode.GET_DATA, OpCode.ERROR, 1000):
        await wire.say(request_packet(1, 1, op, nothing, WHO))
        txn = decode_transaction((await wire.hear(P.INFORM)).body).txn
        assert (txn.op, txn.body) == (OpCode.ERROR, ErrorTxn(ErrorCode.MARSHALLING_ERROR))
    await still_follows(leader, follower)


@served()
async def test_one_that_says_nothing_is_given_up(stage: Stage) -> None:
    """Not a word, not even to pings, for syncLimit."""
    leader, follower = await voters(stage)
    wire = await observing(stage, follower)
    assert await wire.is_closed()
    await still_follows(leader, follower)


def test_one_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond observerMaster.sizeLimit bytes; the follower and its other observers are well all the while."""
    monkeypatch.setattr("pyzkserver.testing.network._BUFFERED", 10_000)
    served(jute_max_buffer=1000, jute_max_buffer_extra_size=1000, observer_master_size_limit=20_000)(
        reads_nothing
    )()


async def reads_nothing(stage: Stage) -> None:
    leader, follower = await voters(stage)
    lazy, good = await observing(stage, follower, 4), await observing(stage, follower, 5)
    client = await Client.new(follower.replica)
    [handler] = [each for each in follower.peer.handlers if each.sid == 4]
    seen = 0
    for number in range(400):
        await client.create(f"/n{number}", b"x" * 500)
        while seen < number:
            seen += (await good.hear(P.INFORM)).type == P.INFORM
            await good.say(packet(P.PING, 0, b""))
        if handler not in follower.peer.handlers:
            break
        await lazy.say(packet(P.PING, 0, b""))
    assert 20_000 < number * 500 < 60_000
    assert [each.sid for each in follower.peer.handlers] == [5]
    await still_follows(leader, follower)


@served()
async def test_a_flood_of_questions_waits_for_the_leader(stage: Stage) -> None:
    """While the leader owes many answers, observers are not read from: what waits here has a bound."""
    _, follower = await voters(stage)
    wire = await observing(stage, follower)
    assert follower.peer.learner is not None
    master = follower.peer.learner.master
    assert master is not None
    send, held = master.telling.following.send, []
    master.telling.following.send = held.append
    most, observer_master._MOST_QUESTIONS = observer_master._MOST_QUESTIONS, 50
    try:
        sent = 0
        with trio.move_on_after(0.1) as scope:
            for sent in range(20_000):
                await wire.say(sync(1, sent))
        assert scope.cancelled_caught
        questions = master.telling.following.questions
        assert 50 < questions.waiting == master.telling.waiting < 5_000
        master.telling.following.send = send
        for data in held:
            send(data)
        for _ in range(sent):
            await wire.hear(P.SYNC)
        assert master.telling.waiting == 0
    finally:
        observer_master._MOST_QUESTIONS = most


def test_this_members_own_clients_do_not_keep_observers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they ask the leader, and have under way, is bounded elsewhere: it is not for observers to wait for."""

    @served()
    async def scenario(stage: Stage) -> None:
        _, follower = await voters(stage)
        wire = await observing(stage, follower)
        learner = follower.peer.learner
        assert learner is not None
        master, held = learner.master, list[bytes]()
        assert master is not None
        client = await Client.new(follower.replica)
        learner.following.send = held.append
        for _ in range(60):
            client.send(OpCode.SYNC, SyncRequest("/"))
        assert not master.busy
        learner.upstream._outbox.waiting = under_way.MOST
        assert not master.busy
        await wire.say(sync(1, 1), packet(P.REVALIDATE, -1, encode_revalidate(1, 4000)))
        await stage.until(lambda: master.telling.waiting == 2)
        learner.upstream._outbox.waiting = outbox.MAX_QUEUED // 2
        assert master.busy
        learner.upstream._outbox.waiting = 0

    monkeypatch.setattr(observer_master, "_MOST_QUESTIONS", 50)
    scenario()


@served()
async def test_a_flood_of_strangers_keeps_no_observer_out(stage: Stage) -> None:
    """So many may stand there unknown: whoever came first goes."""
    leader, follower = await voters(stage)
    flood = [await call(stage, follower) for _ in range(300)]
    wire = await observing(stage, follower)
    await wire.say(sync(1, 1))
    await wire.hear(P.SYNC)
    with trio.fail_after(0.1):
        assert await flood[0].is_closed()
    await still_follows(leader, follower)


def test_a_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The member follows all the same, says so once, and serves observers when the port is free."""

    @served()
    async def scenario(stage: Stage) -> None:
        taken = [stage.network.listen(f"m{sid}", f"m{sid}", PORT) for sid in (1, 2, 3)]
        await stage.start(1, 2, 3)
        leader = await stage.formed()
        follower = next(member for member in stage.running() if member is not leader)
        await trio.sleep(5)
        await still_follows(leader, follower)
        for listener in taken:
            await listener.aclose()
        await trio.sleep(1.1)
        await observing(stage, follower)

    scenario()
    said = [record.getMessage() for record in caplog.records if "observerMasterPort" in record.getMessage()]
    assert len(said) == 2, "of each of the two followers"
    assert f":{PORT} cannot be listened on" in said[0]


# --- whom an observer learns from ---------------------------------------------------------------------------


class Shuffled:
    """Stands for a host: it shuffles by turning around, and notes how long is waited."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.random = self

    def shuffle(self, items: list[int]) -> None:
        items.reverse()

    def randrange(self, below: int) -> int:
        return below - 1

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


class Self:
    """Stands for a member."""

    def __init__(self, voting: int, port: int = PORT, delay: int = 101) -> None:
        self.members = Members.parse(members_text(voting, 1))
        self.host = Shuffled()
        self.config = self
        self.observer_master_port = port
        self.observer_reconnect_delay_ms = delay


def found(local: Self, leader: int, times: int, *, in_vain: bool = False) -> list[str]:
    choice = MasterChoice(local)  # type: ignore[arg-type]

    async def find() -> list[str]:
        tried = []
        for _ in range(times):
            [where] = (await choice.find(leader))[1]
            tried.append(str(where))
            if not in_vain:
                choice.served()
        return tried

    return run(find)  # type: ignore[no-any-return]


def test_masters_are_tried_in_turn() -> None:
    """All voters but the leader, at the observer's own port; the delay comes between the rounds."""
    local = Self(voting=4)
    assert found(local, 3, 7) == [f"m{sid}:{PORT}" for sid in (4, 2, 1, 4, 2, 1, 4)]
    assert local.host.waited == [0.1, 0.1]


def test_where_no_master_serves_the_leader_is_asked_once_a_round() -> None:
    """It may be the one that waits: for the vote of an observer that is proposed to vote."""
    local = Self(voting=4)
    tried = found(local, 3, 9, in_vain=True)
    assert tried == [*(f"m{sid}:{PORT}" for sid in (4, 2, 1)), "m3:2888"] * 2 + [f"m4:{PORT}"]
    assert local.host.waited == [0.1] * 4


def test_without_masters_the_leader_is_asked_after_the_delay() -> None:
    """Each time (``QuorumPeer.findLearnerMaster``)."""
    local = Self(voting=3, port=0)
    assert found(local, 2, 2) == ["m2:2888", "m2:2888"]
    assert local.host.waited == [0.1, 0.1]


def test_where_nobody_follows_the_leader_is_asked() -> None:
    """A leader does not listen at that port; Apache's observers of one voter find nobody."""
    assert found(Self(voting=1), 1, 2) == ["m1:2888", "m1:2888"]


def test_another_configuration_is_another_order() -> None:
    """Drawn anew, from its beginning."""
    local = Self(voting=4)
    choice = MasterChoice(local)  # type: ignore[arg-type]

    async def find() -> str:
        [where] = (await choice.find(1))[1]
        return where.host

    async def scenario() -> None:
        assert await find() == "m4"
        local.members = Members.parse(members_text(3, 1))
        assert [await find(), await find()] == ["m3", "m2"]
        assert local.host.waited == []

    run(scenario)


# --- ensembles ----------------------------------------------------------------------------------------------


def master_of(stage: Stage, observer: Member) -> Member | None:
    """By whom it learns, as its master knows it."""
    return next(
        (
            member
            for member in stage.running()
            if any(handler.sid == observer.sid and handler.in_broadcast for handler in member.peer.handlers)
        ),
        None,
    )


@served()
async def test_who_moved_and_comes_back_is_answered(stage: Stage) -> None:
    """What it asked for where it was is refused, in its turn: neither its session nor the observer waits for it."""
    await stage.start()
    await stage.formed()
    observer = stage.all[4]
    await stage.until(lambda: master_of(stage, observer) is not None)
    master = master_of(stage, observer)
    assert master is not None
    client, other = await Client.new(observer.replica, 60_000), await Client.new(observer.replica)
    await stage.until_same()
    answers: list[bool] = []
    master.replica.role.resume(client.session_id, 60_000, answers.append)
    await stage.until(lambda: len(answers) == 1)
    late = client.send(OpCode.CREATE, CreateRequest("/late", b"", list(OPEN_ACL), 0))
    client.send(OpCode.SYNC, SyncRequest("/"))
    with trio.fail_after(1):
        await other.sync()
    assert (await client.hear(late)).err == ErrorCode.MARSHALLING_ERROR
    observer.replica.role.resume(client.session_id, 60_000, answers.append)
    await stage.until(lambda: len(answers) == 2)
    assert answers == [True, True]
    await client.create("/back")
    await stage.until_same()
    assert "/late" not in observer.replica.tree.nodes
    assert observer.state is ServerState.OBSERVING


@served(observing=2)
async def test_an_ensemble_with_masters(stage: Stage) -> None:
    """What is written anywhere is soon the same everywhere, and sync is what it says."""
    await stage.start()
    leader = await stage.formed()
    observer, other = stage.all[4], stage.all[5]
    for one in (observer, other):
        await stage.until(lambda one=one: master_of(stage, one) is not None)
        master = master_of(stage, one)
        assert master is not None
        assert master.state is ServerState.FOLLOWING
    client, writer = await Client.new(observer.replica), await Client.new(leader.replica)
    await client.create("/mine", b"1")
    for number in range(50):
        await writer.create(f"/n{number}")
        await client.sync()
        assert f"/n{number}" in observer.replica.tree.nodes
    third = await Client.new(other.replica)
    await third.set("/mine", b"2")
    await client.sync()
    assert observer.replica.tree.nodes["/mine"].data == b"2"
    await stage.until_same()


@served(sync_enabled=False)
async def test_a_master_that_is_killed_is_replaced(stage: Stage) -> None:
    """By another follower; an observer without a log goes on in memory."""
    await stage.start()
    leader = await stage.formed()
    observer = stage.all[4]
    await stage.until(lambda: master_of(stage, observer) is not None)
    first = master_of(stage, observer)
    assert first is not None
    client = await Client.new(leader.replica)
    await client.create("/before")
    await stage.kill(first.sid)
    for number in range(20):
        await client.create(f"/n{number}")
    await stage.until(lambda: master_of(stage, observer) is not None)
    second = master_of(stage, observer)
    assert second is not None
    assert second is not first
    assert second.state is ServerState.FOLLOWING
    await stage.until_same()


@served()
async def test_another_leader_is_another_epoch_for_observers_too(stage: Stage) -> None:
    """Their masters look for a leader, so they do; and they find them again."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    await client.create("/before")
    await stage.kill(leader.sid)
    successor = await stage.formed()
    observer = stage.all[4]
    await stage.until(lambda: master_of(stage, observer) is not None)
    assert observer.peer.current_epoch() == 2
    again = await Client.new(successor.replica)
    await again.create("/after")
    await stage.start(leader.sid)
    await stage.formed()
    await stage.until_same()


@served(reconfig_enabled=True, observing=1)
async def test_a_reconfiguration_reaches_observers(stage: Stage) -> None:
    """One that changes nothing for them leaves their connection alone."""
    await stage.start()
    leader = await stage.formed()
    observer = stage.all[4]
    await stage.until(lambda: master_of(stage, observer) is not None)
    master = master_of(stage, observer)
    assert master is not None
    leaving = next(sid for sid in (1, 2, 3) if sid not in (leader.sid, master.sid))
    connected = list(master.peer.handlers)
    client = await Client.new(leader.replica)
    asked = ReconfigRequest(None, str(leaving), None, -1)
    assert (await client.ask(OpCode.RECONFIG, asked)).err == 0
    await stage.until(lambda: leaving not in observer.peer.members.voting)
    assert list(master.peer.handlers) == connected
    assert observer.peer.members.version == leader.peer.members.version


@served(reconfig_enabled=True)
async def test_what_a_reconfiguration_decides_is_told_before_the_master_goes(stage: Stage) -> None:
    """INFORMANDACTIVATE with who leads from here on; the follower then changes its leader, and hangs up."""
    leader, follower = await voters(stage)
    wire = await observing(stage, follower)
    client = await Client.new(leader.replica)
    client.send(OpCode.RECONFIG, ReconfigRequest(None, str(leader.sid), None, -1))
    assert (await wire.hear(P.INFORM)).type == P.INFORM
    told = await wire.hear(P.INFORMANDACTIVATE)
    designated, payload = split_activation(told.body)
    assert designated in {1, 2, 3} - {leader.sid}
    txn = decode_transaction(payload).txn
    assert (txn.zxid, txn.op) == (told.zxid, OpCode.RECONFIG)
    assert await wire.is_closed()


def test_the_leader_before_hangs_up_while_observers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leads from here on is decided: it is followed all the same, and nobody is elected."""
    monkeypatch.setattr(LearnerHandler, "told", False)

    @served(reconfig_enabled=True)
    async def scenario(stage: Stage) -> None:
        leader, follower = await voters(stage)
        await stage.formed()
        wire = await observing(stage, follower)
        client, late = await Client.new(leader.replica), await Client.new(follower.replica)
        rounds = [member.peer.election.logical_clock for member in stage.running() if member is not leader]
        client.send(OpCode.RECONFIG, ReconfigRequest(None, str(leader.sid), None, -1))
        while (await wire.hear()).type != P.INFORMANDACTIVATE:
            pass
        await stage.kill(leader.sid)
        late.send(OpCode.CREATE, CreateRequest("/late", b"", list(OPEN_ACL), 0))
        await stage.formed()
        assert rounds == [member.peer.election.logical_clock for member in stage.running()]

    scenario()


@served(reconfig_enabled=True)
async def test_observers_go_where_the_leader_goes(stage: Stage) -> None:
    """Without an election, by a follower of the new leader."""
    await stage.start()
    leader = await stage.formed()
    observer = stage.all[4]
    await stage.until(lambda: master_of(stage, observer) is not None)
    client = await Client.new(leader.replica)
    client.send(OpCode.RECONFIG, ReconfigRequest(None, str(leader.sid), None, -1))
    rest = [sid for sid in (1, 2, 3) if sid != leader.sid]
    successor = await stage.formed(*rest)
    again = await Client.new(successor.replica)
    await again.create("/after")
    await stage.until(
        lambda: observer.clients.replica is not None and "/after" in observer.replica.tree.nodes
    )
    assert observer.peer.members.version == successor.peer.members.version
