"""Scripted conversations on the quorum port, as ``Zab1_0Test`` has them: a fake follower, and a fake leader.

Each line that the other side says is looked at when it comes, with what is on the disk at that moment: an
acknowledgement that is sent too early is found here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from pyzkserver.quorum.ends import LeaderLost, LearnerRefused, QuorumLost
from pyzkserver.quorum.leader import LAST_EPOCH, Leader
from pyzkserver.quorum.learner import Learner
from pyzkserver.quorum.learner_handler import LearnerHandler
from pyzkserver.quorum.learner_port import STRANGERS
from pyzkserver.quorum.members import Address
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.epochs import Epochs
from pyzkserver.storage.treestream import receive_tree, tree_stream
from pyzkserver.storage.txncodec import decode_transaction, encode_transaction
from pyzkserver.wire.quorum import (
    LearnerInfo,
    Packet,
    PacketType,
    encode_identities,
    encode_revalidate,
    encode_revalidated,
    encode_touches,
    packet,
    proposal_packet,
    request_packet,
    short_packet,
)
from pyzkserver.wire.quorum_stream import PacketReader
from pyzkserver.wire.requests import CreateRequest, OpCode
from pyzkserver.wire.txns import CreateSessionTxn, CreateTxn, ErrorTxn

from .stage import Client, Member, Stage
from .test_ensemble import staged

P = PacketType
VERSION = (0x10000).to_bytes(4)


class Wire:
    """One end of a conversation: says packets, and expects them."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.reader = PacketReader(1 << 22)

    async def say(self, *packets: bytes) -> None:
        await self.stream.send_all(b"".join(packets))

    async def hear(self, *expected: PacketType) -> Packet:
        """The next packet, a ping excepted."""
        with trio.fail_after(20):
            while True:
                while (one := self.reader.take()) is None:
                    data = await self.stream.receive_some(65536)
                    if not data:
                        raise EOFError
                    self.reader.add(data)
                if one.type != P.PING or P.PING in expected:
                    break
        assert not expected or one.type in expected, one
        return one

    async def is_closed(self) -> bool:
        """Whether the other end closes the connection, whatever it says before."""
        try:
            while True:
                await self.hear()
        except (EOFError, trio.BrokenResourceError):
            return True
        except trio.TooSlowError:
            return False


# --- a fake follower ----------------------------------------------------------------------------------------


async def led(stage: Stage) -> Member:
    """A leader with one follower; the third member is the test's."""
    await stage.start(1, 2)
    return await stage.formed(1, 2)


async def call(stage: Stage, leader: Member) -> Wire:
    return Wire(await stage.network.connect("m3", f"m{leader.sid}", 2888))


def info(sid: int = 3, version: int = 0x10000, config: int = 0) -> bytes:
    return LearnerInfo(sid, version, config).encode()


async def registered(wire: Wire, *, kind: PacketType = P.FOLLOWERINFO, last: int = 0, epoch: int = 0) -> int:
    """Through discovery; the leader's epoch."""
    await wire.say(packet(kind, epoch << 32, info()))
    leader = await wire.hear(P.LEADERINFO)
    assert leader.data == VERSION
    await wire.say(packet(P.ACKEPOCH, last, epoch.to_bytes(4)))
    return leader.zxid >> 32


async def following(stage: Stage, leader: Member, kind: PacketType = P.FOLLOWERINFO) -> tuple[Wire, int]:
    """A follower that has come up to date."""
    wire = await call(stage, leader)
    last = leader.replica.tree.last_zxid
    epoch = await registered(wire, kind=kind, last=last)
    assert (await wire.hear(P.DIFF)).zxid == last
    await wire.hear(P.NEWLEADER)
    await wire.say(short_packet(P.ACK, epoch << 32))
    await wire.hear(P.UPTODATE)
    await wire.say(short_packet(P.ACK, epoch << 32))
    return wire, epoch


@staged()
async def test_a_follower_is_brought_up_and_asks(stage: Stage) -> None:
    """SNAP to an empty follower, then its client's session, write, sync and touches, each answered in order."""
    leader = await led(stage)
    client = await Client.new(leader.replica)
    await client.create("/before")
    wire = await call(stage, leader)
    epoch = await registered(wire)
    snap = await wire.hear(P.SNAP)
    assert snap.zxid == leader.replica.tree.last_zxid
    tree = DataTree()
    begun = wire.reader.rest()
    snapshot, rest = await receive_tree(lambda: wire.stream.receive_some(65536), tree, begun)
    assert "/before" in tree.nodes
    assert snapshot.sessions == {client.session_id: 4000}
    wire.reader.add(rest)
    new = await wire.hear(P.NEWLEADER)
    assert new.zxid == epoch << 32
    assert b"server.3=m3:2888:3888:participant" in new.body
    await wire.say(short_packet(P.ACK, epoch << 32))
    await wire.hear(P.UPTODATE)

    who = encode_identities((("ip", "10.0.0.3"),))
    session = 3 << 56 | 77
    await wire.say(
        request_packet(session, 0, OpCode.CREATE_SESSION, CreateSessionTxn(6000).encode(), who),
        request_packet(
            session, 1, OpCode.CREATE, CreateRequest("/asked", b"", list(OPEN_ACL), 1).encode(), who
        ),
        request_packet(session, 2, OpCode.DELETE, b"garbage", who),
        request_packet(session, 3, OpCode.SYNC, b"\0\0\0\1/", who),
    )
    proposals = [await wire.hear(P.PROPOSAL) for _ in range(3)]
    zxids = [one.zxid for one in proposals]
    assert zxids == list(range(zxids[0], zxids[0] + 3))
    bodies = [decode_transaction(one.body).txn for one in proposals]
    assert [txn.cxid for txn in bodies] == [0, 1, 2]
    assert isinstance(bodies[1].body, CreateTxn)
    assert bodies[1].body.ephemeral
    assert isinstance(bodies[2].body, ErrorTxn)
    # The two others are a quorum: commits come without this follower's acknowledgements, and then the SYNC.
    assert [(await wire.hear(P.COMMIT)).zxid for _ in range(3)] == zxids
    await wire.hear(P.SYNC)
    await wire.say(*(short_packet(P.ACK, zxid) for zxid in zxids))
    assert leader.replica.sessions.by_id[session].timeout == 6000
    await wire.say(packet(P.PING, 0, encode_touches([(session, 5000)])))
    await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(session, 4000)))
    assert (await wire.hear(P.REVALIDATE)).body == encode_revalidated(session, True)
    await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(12345, 4000)))
    assert (await wire.hear(P.REVALIDATE)).body == encode_revalidated(12345, False)
    ping = await wire.hear(P.PING)
    assert ping.zxid == leader.replica.last_proposed


@staged()
async def test_an_observer_is_informed(stage: Stage) -> None:
    """INFORM for each committed transaction; no PROPOSAL, and its acknowledgements count for nothing."""
    leader = await led(stage)
    client = await Client.new(leader.replica)
    wire, _ = await following(stage, leader, P.OBSERVERINFO)
    await client.create("/told")
    told = await wire.hear(P.INFORM)
    txn = decode_transaction(told.body).txn
    assert (txn.zxid, txn.op) == (told.zxid, OpCode.CREATE)


@staged()
async def test_what_is_under_way_is_forwarded_to_who_comes(stage: Stage) -> None:
    """A proposal that waits for its quorum is sent to a follower that comes meanwhile; its ACK decides it."""
    leader = await led(stage)
    other = next(member for member in stage.running() if member is not leader)
    client = await Client.new(leader.replica)
    await stage.until_same()
    await stage.kill(other.sid)
    last = leader.replica.tree.last_zxid
    xid = client.send(OpCode.CREATE, CreateRequest("/waits", b"", list(OPEN_ACL), 0))
    wire = await call(stage, leader)
    epoch = await registered(wire, last=last)
    await wire.hear(P.DIFF)
    waiting = await wire.hear(P.PROPOSAL)
    await wire.hear(P.NEWLEADER)
    assert "/waits" not in leader.replica.tree.nodes
    await wire.say(short_packet(P.ACK, epoch << 32))
    await wire.hear(P.UPTODATE)
    await wire.say(short_packet(P.ACK, epoch << 32), short_packet(P.ACK, waiting.zxid))
    assert (await wire.hear(P.COMMIT)).zxid == waiting.zxid
    assert (await client.hear(xid)).err == 0


def test_news_do_not_come_between_a_diff_and_newleader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are queued in one step, for followers of Apache's are confused by what does (ZOOKEEPER-4394)."""
    synchronize = LearnerHandler._synchronize

    async def at_once(handler: LearnerHandler, peer_last: int) -> None:
        with trio.testing.assert_no_checkpoints():
            await synchronize(handler, peer_last)

    @staged()
    async def scenario(stage: Stage) -> None:
        leader = await led(stage)
        monkeypatch.setattr(LearnerHandler, "_synchronize", at_once)
        await following(stage, leader)

    scenario()


@staged()
async def test_a_learner_may_lack_more_than_may_wait_for_it(stage: Stage) -> None:
    """A DIFF is no lag, however long: else it would never be synchronized."""
    leader = await led(stage)
    client = await Client.new(leader.replica)
    last = leader.replica.tree.last_zxid
    for number in range(5):
        await client.create(f"/{number}", b"x" * 1000)
    assert leader.peer.leader is not None
    leader.peer.leader.max_queued = 2000
    wire = await call(stage, leader)
    await registered(wire, last=last)
    await wire.hear(P.DIFF)
    for _ in range(5):
        await wire.hear(P.PROPOSAL)
        await wire.hear(P.COMMIT)
    await wire.hear(P.NEWLEADER)


BAD_BEGINNINGS = [
    ("garbage", b"\x7f" * 200, "it sent what cannot be read"),
    ("a request of the web", b"GET / HTTP/1.1\r\nHost: member\r\n\r\n", "it sent what cannot be read"),
    ("not a learner", short_packet(P.ACK, 1), "ACK where FOLLOWERINFO or OBSERVERINFO was due"),
    (
        "a length beyond the limit",
        bytes.fromhex("0000000b 0000000000000000 7fffffff ffffffff"),
        "it sent what cannot be",
    ),
    ("of a server before 3.4", packet(P.FOLLOWERINFO, 0, info(version=1)), "of a server before 3.4"),
    ("no info at all", packet(P.FOLLOWERINFO, 0, b""), "of a server before 3.4"),
    ("a newer configuration", packet(P.FOLLOWERINFO, 0, info(config=5 << 32)), "is newer than this member's"),
    ("the last epoch", packet(P.FOLLOWERINFO, LAST_EPOCH << 32, info()), "has accepted epoch 2147483647"),
    ("an epoch beyond belief", packet(P.OBSERVERINFO, 1 << 62, info()), "has accepted epoch 1073741824"),
    ("the leader's own id", packet(P.FOLLOWERINFO, 0, info(2)), "this leader's own id"),
    (
        "a learner that sends what only leaders do",
        packet(P.FOLLOWERINFO, 0, info()) + short_packet(P.COMMIT, 5),
        "COMMIT where ACKEPOCH was due",
    ),
    (
        "a short ACKEPOCH",
        packet(P.FOLLOWERINFO, 0, info()) + packet(P.ACKEPOCH, 0, b"\0"),
        "ACKEPOCH with 1 bytes",
    ),
]


def learned(test: Callable[[Stage, Wire, Member], Awaitable[None]]) -> Callable[[], None]:
    """A test whose follower has come up to date, after which the leader must still lead."""

    @staged()
    async def whole(stage: Stage) -> None:
        leader = await led(stage)
        wire, _ = await following(stage, leader)
        await test(stage, wire, leader)
        await still_leads(leader)

    whole.__doc__ = test.__doc__
    return whole  # type: ignore[no-any-return]


async def still_leads(leader: Member) -> None:
    client = await Client.new(leader.replica)
    await client.create("/afterwards")


@pytest.mark.parametrize(
    ("what", "raw", "complaint"), BAD_BEGINNINGS, ids=[what for what, _, _ in BAD_BEGINNINGS]
)
def test_a_bad_beginning_costs_its_connection(
    what: str, raw: bytes, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else: the leader goes on, and says once who was turned away, however often it comes."""

    @staged()
    async def scenario(stage: Stage) -> None:
        leader = await led(stage)
        assert leader.sid == 2
        caplog.clear()
        for _ in range(5):
            wire = await call(stage, leader)
            await wire.say(raw)
            assert await wire.is_closed()
        await still_leads(leader)

    caplog.set_level("INFO", logger="pyzkserver.quorum")
    scenario()
    [said] = caplog.records
    assert complaint in said.getMessage()
    assert said.levelname == "WARNING"


@staged()
async def test_who_holds_more_than_the_leader_is_turned_away(stage: Stage) -> None:
    """While the epoch is not accepted, for then another one had better lead (``Leader.waitForEpochAck``)."""
    stage.all[1].open()
    local = stage.all[1].local
    leader = Leader(local, lambda epoch: None)
    for current, zxid in ((1, 0), (0, 1)):
        with pytest.raises(LearnerRefused, match="it has more than this leader"):
            await leader.accept_epoch(3, current, zxid)
    local.history.store.close()


@staged()
async def test_who_accepted_an_epoch_before_does_not_count(stage: Stage) -> None:
    """-1: perhaps it was another leader's, of the same number (``Leader.waitForEpochAck``)."""
    stage.all[1].open()
    local = stage.all[1].local
    leader = Leader(local, lambda epoch: None)
    accepted: list[int] = []

    async def accept(sid: int, current: int) -> None:
        await leader.accept_epoch(sid, current, 0)
        accepted.append(sid)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, 1, 0)
        nursery.start_soon(accept, 2, -1)
        await trio.testing.wait_all_tasks_blocked()
        assert not accepted
        await accept(3, 0)
    assert sorted(accepted) == [1, 2, 3]
    local.history.store.close()


@staged(observing=1)
async def test_an_epoch_is_beyond_all_that_members_accepted(stage: Stage) -> None:
    """Observers' too, or they could not come, and of one that is not in the configuration
    (``Leader.getEpochToPropose``); but not what does not come of elections, least of all from a stranger."""
    stage.all[1].open()
    local = stage.all[1].local
    leader = Leader(local, lambda epoch: None)
    async with trio.open_nursery() as nursery:
        for sid, accepted in ((9, 6), (1, 0), (4, 7)):
            nursery.start_soon(leader.epoch_for, sid, accepted)
        await trio.testing.wait_all_tasks_blocked()
        for sid, accepted in ((3, LAST_EPOCH), (9, LAST_EPOCH), (9, 100_000)):
            with pytest.raises(LearnerRefused, match="data directory is damaged"):
                await leader.epoch_for(sid, accepted)
        assert await leader.epoch_for(2, 3) == 8
    assert local.history.epochs.accepted == 8
    local.history.store.close()


@staged()
async def test_the_last_epoch(stage: Stage) -> None:
    """Where so many have been used, each member may be a little ahead of the others; and the last one is the end."""
    stage.all[1].open()
    local = stage.all[1].local
    epochs = local.history.epochs
    epochs.set_accepted(LAST_EPOCH - 2)
    with pytest.raises(LearnerRefused):
        await Leader(local, lambda epoch: None).epoch_for(3, LAST_EPOCH)
    leader = Leader(local, lambda epoch: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leader.epoch_for, 1, epochs.accepted)
        await trio.testing.wait_all_tasks_blocked()
        assert await leader.epoch_for(2, LAST_EPOCH - 1) == LAST_EPOCH
    with pytest.raises(QuorumLost, match="all epochs are used up"):
        await Leader(local, lambda epoch: None).epoch_for(1, epochs.accepted)
    local.history.store.close()


@pytest.mark.parametrize("sid", [3, 4])
def test_a_member_that_accepted_a_later_epoch_is_let_in(sid: int) -> None:
    """It helped to begin one that did not come to power, and may follow no earlier one: so a later one begins."""

    @staged(observing=1)
    async def scenario(stage: Stage) -> None:
        await stage.start(1, 2)
        leader = await stage.formed(1, 2)
        client = await Client.new(leader.replica)
        await client.create("/a")
        member = stage.all[sid]
        member.open()
        member.local.history.epochs.set_accepted(9)
        member.local.history.store.close()
        await stage.start(sid)
        await stage.formed(1, 2, sid)
        assert {stage.all[each].peer.vote.peer_epoch for each in (1, 2, sid)} == {10}
        await stage.until_same()

    scenario()


def test_who_comes_and_goes_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """As something does that only looks whether the port is open."""

    @staged()
    async def scenario(stage: Stage) -> None:
        leader = await led(stage)
        caplog.clear()
        for _ in range(50):
            await (await call(stage, leader)).stream.aclose()
        await trio.sleep(61)
        await (await call(stage, leader)).stream.aclose()
        await still_leads(leader)

    caplog.set_level("INFO", logger="pyzkserver.quorum")
    scenario()
    first, second = (record.getMessage() for record in caplog.records)
    assert "(not known yet) to the quorum port: " in first
    assert "(49 more since this was last said)" in second


@pytest.mark.parametrize(
    "raw",
    [b"", packet(P.FOLLOWERINFO, 0, info(77)), packet(P.FOLLOWERINFO, 0, info(1))],
    ids=["silent", "unknown", "1"],
)
def test_a_flood_of_connections_keeps_no_member_out(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """So many may stand there and not be who they say: whoever came first goes, and members get in."""

    @staged()
    async def scenario(stage: Stage) -> None:
        leader = await led(stage)
        caplog.clear()
        flood = []
        for _ in range(5 * STRANGERS):
            flood.append(await call(stage, leader))
            if raw:
                await flood[-1].say(raw)
            if len(flood) % 50 == 0:
                await trio.sleep(0)
        await following(stage, leader)
        open_ = 0
        for wire in flood:
            with trio.move_on_after(0.001) as scope:
                await wire.is_closed()
            open_ += scope.cancelled_caught
        assert open_ <= STRANGERS + 1, "one may be the member that it says it is"
        await still_leads(leader)

    caplog.set_level("INFO", logger="pyzkserver.quorum")
    scenario()
    [said] = [record for record in caplog.records if "learner 3 gets" not in record.getMessage()]
    assert "connections of which no learner has come" in said.getMessage()


@learned
async def test_a_follower_that_says_nothing_is_given_up(stage: Stage, wire: Wire, leader: Member) -> None:
    """Not a word, not even to pings, for syncLimit."""
    assert await wire.is_closed()


@learned
async def test_a_follower_that_owes_acknowledgements_is_given_up(
    stage: Stage, wire: Wire, leader: Member
) -> None:
    """It answers pings and acknowledges nothing (``SyncLimitCheck``)."""
    client = await Client.new(leader.replica)
    await client.create("/owed")
    with trio.fail_after(20):
        try:
            while True:
                if (await wire.hear(P.PING, P.PROPOSAL, P.COMMIT)).type == P.PING:
                    await wire.say(packet(P.PING, 0, b""))
        except (EOFError, trio.BrokenResourceError):
            pass


@staged()
async def test_what_is_acknowledged_before_it_is_proposed_counts_for_nothing(stage: Stage) -> None:
    """Neither at once nor for what is proposed later, and is never acknowledged (``Leader.processAck``)."""
    leader = await led(stage)
    client = await Client.new(leader.replica)
    await stage.until_same()
    wire, epoch = await following(stage, leader)
    await stage.kill(next(member for member in stage.running() if member is not leader).sid)
    await wire.say(short_packet(P.ACK, epoch + 1 << 32))
    waits = client.send(OpCode.CREATE, CreateRequest("/waits", b"", list(OPEN_ACL), 0))
    proposal = await wire.hear(P.PROPOSAL)
    for _ in range(2):  # the second ping comes when the leader has looked at what was said to the first
        await wire.hear(P.PING)
        await wire.say(packet(P.PING, 0, b""))
    assert not client.applied
    await wire.say(short_packet(P.ACK, proposal.zxid))
    assert (await client.hear(waits)).err == 0


@learned
async def test_a_follower_that_sends_nonsense_later_is_given_up(
    stage: Stage, wire: Wire, leader: Member
) -> None:
    """A broken REQUEST, in the middle of everything."""
    await wire.say(packet(P.REQUEST, -1, b"short"))
    assert await wire.is_closed()


def test_what_no_follower_sends_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """Apache's warns, and goes on (``LearnerHandler.run``); here it is said once a minute."""

    @learned
    async def scenario(stage: Stage, wire: Wire, leader: Member) -> None:
        caplog.clear()
        strange = (P.PROPOSAL, P.NEWLEADER, P.FOLLOWERINFO, P.SYNC, 99, -7)
        await wire.say(*(packet(kind, 5, b"what it says") for kind in strange))  # type: ignore[arg-type]
        await wire.say(packet(P.REVALIDATE, -1, encode_revalidate(1, 4000)))
        assert (await wire.hear()).type == P.REVALIDATE

    caplog.set_level("WARNING", logger="pyzkserver.quorum")
    scenario()
    [said] = caplog.records
    assert said.getMessage() == "learner 3 sent PROPOSAL, which no learner sends: it is passed over"


@learned
async def test_a_flood_of_packets_holds_up_nobody(stage: Stage, wire: Wire, leader: Member) -> None:
    """Whatever a learner says, others are served between two of its pieces."""
    client = await Client.new(leader.replica)
    flood = trio.CancelScope()

    async def say_much(packets: bytes) -> None:
        with flood:
            while True:
                await wire.say(packets)

    stage.nursery.start_soon(say_much, (packet(P.PING, 0, b"") + packet(P.ACK, 1 << 40)) * 2000)
    for number in range(20):
        await client.create(f"/{number}")
    flood.cancel()


@learned
async def test_a_member_that_connects_again_replaces_its_old_connection(
    stage: Stage, wire: Wire, leader: Member
) -> None:
    """The old one is half open, most likely."""
    again, _ = await following(stage, leader)
    assert await wire.is_closed()
    client = await Client.new(leader.replica)
    await client.create("/new")
    await again.hear(P.PROPOSAL)


# --- a fake leader ------------------------------------------------------------------------------------------


class Followed:
    """A member that follows whom the test plays."""

    def __init__(self, stage: Stage, *, voting: bool = True) -> None:
        self.stage = stage
        self.member = stage.all[1]
        self.member.open()
        self.voting = voting
        self.established: list[int] = []
        self.ended: LeaderLost | None = None
        self.over = trio.Event()
        self.wire: Wire

    @property
    def epochs(self) -> tuple[int, int]:
        """Accepted and current, as they are on the disk."""
        store = self.member.local.history.store
        epochs = Epochs(store.disk, store.snapshots)
        epochs.load(0)
        return epochs.accepted, epochs.current

    def logged(self) -> list[int]:
        """The zxids that are on the disk."""
        store = self.member.local.history.store
        return [entry.txn.zxid for entry in store.transactions_from(store.history_begins)]

    async def connect(self) -> Packet:
        """Let it call; what it says first."""
        listener = self.stage.network.listen("m2", "m2", 2888)
        self.stage.nursery.start_soon(self._follow)
        self.wire = Wire(await listener.accept())
        await listener.aclose()
        return await self.wire.hear(P.FOLLOWERINFO, P.OBSERVERINFO)

    async def _follow(self) -> None:
        local = self.member.local
        learner = Learner(local, 2, voting=self.voting, on_established=self.established.append)
        try:
            await learner.run([Address("m2", 2888)])
        except LeaderLost as lost:
            self.ended = lost
        except BaseExceptionGroup as group:
            lost_only, rest = group.split(LeaderLost)
            if rest is not None:
                raise
            found: Any = lost_only
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]
            self.ended = found
        local.clients.stop_serving()
        await local.history.settle()
        self.over.set()

    async def end(self) -> LeaderLost:
        with trio.fail_after(30):
            await self.over.wait()
        self.member.local.history.store.close()
        assert self.ended is not None
        return self.ended

    async def accept(self, epoch: int) -> Packet:
        await self.connect()
        await self.wire.say(packet(P.LEADERINFO, epoch << 32, VERSION))
        return await self.wire.hear(P.ACKEPOCH)


def created(zxid: int, path: str) -> bytes:
    txn = Transaction(1, 1, zxid, 5, int(OpCode.CREATE), CreateTxn(path, b"", list(OPEN_ACL), False, -1))
    return encode_transaction(txn, None)


@staged()
async def test_a_follower_promises_only_what_is_on_its_disk(stage: Stage) -> None:
    """Accepted epoch before ACKEPOCH; history, then current epoch, before the ACK of NEWLEADER; log before ACK."""
    followed = Followed(stage)
    first = await followed.connect()
    assert (first.type, first.zxid, first.data) == (P.FOLLOWERINFO, 0, info(1))
    await followed.wire.say(packet(P.LEADERINFO, 1 << 32, VERSION))
    accepted = await followed.wire.hear(P.ACKEPOCH)
    assert (accepted.zxid, accepted.data) == (0, b"\0\0\0\0")
    assert followed.epochs == (1, 0)
    zxid = 1 << 32
    await followed.wire.say(
        short_packet(P.DIFF, zxid + 1),
        proposal_packet(P.PROPOSAL, zxid + 1, created(zxid + 1, "/a")),
        short_packet(P.COMMIT, zxid + 1),
        proposal_packet(P.PROPOSAL, zxid + 2, created(zxid + 2, "/b")),
        packet(P.NEWLEADER, zxid, b"server.1=m1:2888:3888:participant\nversion=100000000"),
    )
    assert (await followed.wire.hear(P.ACK)).zxid == zxid
    assert followed.epochs == (1, 1)
    assert zxid + 1 in followed.logged()
    # What was proposed and not committed is acknowledged for itself, once it is on the disk, too.
    assert (await followed.wire.hear(P.ACK)).zxid == zxid + 2
    assert followed.logged() == [zxid + 1, zxid + 2]
    assert followed.member.clients.replica is None
    await followed.wire.say(short_packet(P.UPTODATE, -1))
    assert (await followed.wire.hear(P.ACK)).zxid == zxid
    await stage.until(lambda: followed.member.clients.replica is not None)
    assert followed.established == [1]
    tree = followed.member.replica.tree
    assert "/a" in tree.nodes
    assert "/b" not in tree.nodes
    await followed.wire.say(short_packet(P.COMMIT, zxid + 2))
    await stage.until(lambda: "/b" in tree.nodes)
    await followed.wire.say(short_packet(P.PING, zxid + 2))
    assert (await followed.wire.hear(P.PING)).data == b""


@staged()
async def test_an_epoch_is_accepted_once(stage: Stage) -> None:
    """A second leader of the same epoch gets no vote for it (-1), one of an earlier epoch is left."""
    followed = Followed(stage)
    await followed.accept(5)
    await followed.wire.stream.aclose()
    await followed.end()
    again = Followed(stage)
    assert (await again.accept(5)).data == b"\xff\xff\xff\xff"
    await again.wire.stream.aclose()
    await again.end()
    late = Followed(stage)
    assert (await late.connect()).zxid == 5 << 32
    await late.wire.say(packet(P.LEADERINFO, 4 << 32, VERSION))
    assert "older than 5" in str(await late.end())
    assert late.epochs == (5, 0)


@staged()
async def test_a_tree_counts_when_it_is_on_the_disk(stage: Stage) -> None:
    """SNAP: a connection that breaks before NEWLEADER leaves what was there; after its ACK all of it is kept."""
    tree = DataTree()
    zxid = 3 << 32 | 7
    for number, path in enumerate(("/x", "/y"), 1):
        tree.apply(decode_transaction(created(3 << 32 | number, path)).txn)
    tree.last_zxid = zxid
    content = b"".join(tree_stream(tree, {99: 4000}))
    for whole in (False, True):
        followed = Followed(stage)
        await followed.accept(4)
        await followed.wire.say(short_packet(P.SNAP, zxid), content)
        await followed.wire.say(
            proposal_packet(P.PROPOSAL, zxid + 1, created(zxid + 1, "/z")), short_packet(P.COMMIT, zxid + 1)
        )
        if whole:
            await followed.wire.say(packet(P.NEWLEADER, 4 << 32))
            await followed.wire.hear(P.ACK)
            assert followed.epochs == (4, 4)
        await followed.wire.stream.aclose()
        await followed.end()
        stage.all[1].open()
        kept = stage.all[1].local.history
        assert ("/z" in kept.tree.nodes) is whole
        assert kept.last_zxid == (zxid + 1 if whole else 0)
        kept.store.close()


BAD_LEADERS: list[tuple[str, list[bytes], str]] = [
    ("garbage", [b"\x7f" * 300], "cannot be read"),
    ("no DIFF, TRUNC or SNAP", [short_packet(P.UPTODATE, -1)], "UPTODATE where DIFF, TRUNC or SNAP was due"),
    ("a tree that ends early", [short_packet(P.SNAP, 5), b"\0\0\0\0\0\0\0\0"], "closed the connection"),
    ("a tree that is none", [short_packet(P.SNAP, 5), b"\xff" * 100], "cannot be read"),
    (
        "a commit of what was not proposed",
        [short_packet(P.DIFF, 5), short_packet(P.COMMIT, 1 << 32 | 1)],
        "which it did not propose next",
    ),
    (
        "a gap",
        [
            short_packet(P.DIFF, 5),
            *(
                each
                for zxid in (1 << 32 | 1, 1 << 32 | 3)
                for each in (
                    proposal_packet(P.PROPOSAL, zxid, created(zxid, f"/n{zxid & 15}")),
                    short_packet(P.COMMIT, zxid),
                )
            ),
        ],
        "proposed 0x100000003 after 0x100000001",
    ),
    (
        "a proposal under another zxid",
        [
            short_packet(P.DIFF, 5),
            proposal_packet(P.PROPOSAL, 1 << 32 | 2, created(1 << 32 | 1, "/n")),
            short_packet(P.COMMIT, 1 << 32 | 2),
        ],
        "as 0x100000002",
    ),
    (
        "one of a version before 3.4",
        [short_packet(P.DIFF, 5), short_packet(P.UPTODATE, -1)],
        "UPTODATE before NEWLEADER",
    ),
]


@pytest.mark.parametrize(("what", "said", "complaint"), BAD_LEADERS, ids=[what for what, _, _ in BAD_LEADERS])
def test_a_bad_leader_is_left(what: str, said: list[bytes], complaint: str) -> None:
    """The role ends, with what was wrong; nothing of it is taken for the leader's history."""

    @staged()
    async def scenario(stage: Stage) -> None:
        followed = Followed(stage)
        await followed.accept(1)
        await followed.wire.say(*said)
        if complaint == "closed the connection":
            await followed.wire.stream.aclose()
        assert complaint in str(await followed.end())
        assert followed.epochs == (1, 0)

    scenario()


@pytest.mark.parametrize("voting", [True, False], ids=["a follower", "an observer"])
def test_what_no_leader_sends_is_passed_over(voting: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Apache's warns, and goes on (``Follower.processPacket``, ``Observer.processPacket``), in each phase."""

    @staged()
    async def scenario(stage: Stage) -> None:
        followed = Followed(stage, voting=voting)
        await followed.accept(1)
        first = 1 << 32
        strange = [packet(kind, 5, b"what it says") for kind in (P.REQUEST, P.LEADERINFO, 99, -7)]  # type: ignore[arg-type]
        others = (P.INFORM, P.INFORMANDACTIVATE) if voting else (P.COMMITANDACTIVATE,)
        undue = [packet(kind, first + 1, created(first + 1, "/never")) for kind in (P.NEWLEADER, *others)]
        await followed.wire.say(short_packet(P.DIFF, 0), *strange, short_packet(P.NEWLEADER, first))
        assert (await followed.wire.hear()).type == P.ACK
        await followed.wire.say(*strange, *undue, short_packet(P.UPTODATE, -1))
        assert (await followed.wire.hear()).type == P.ACK
        await followed.wire.say(*strange, *undue, short_packet(P.UPTODATE, -1))
        await followed.wire.say(short_packet(P.PING, first))
        assert (await followed.wire.hear(P.PING)).data == b""
        assert followed.established == [1]
        assert "/never" not in followed.member.replica.tree.nodes
        await followed.wire.stream.aclose()
        assert "closed the connection" in str(await followed.end())

    caplog.set_level("WARNING", logger="pyzkserver.quorum")
    scenario()
    [said] = caplog.records
    assert said.getMessage() == "the leader sent REQUEST, which is not due now: it is passed over"


@staged()
async def test_a_leader_that_says_nothing_is_left(stage: Stage) -> None:
    """initLimit before NEWLEADER, syncLimit from there on."""
    followed = Followed(stage)
    await followed.accept(1)
    began = trio.current_time()
    assert "nothing was heard" in str(await followed.end())
    assert trio.current_time() - began == pytest.approx(2, abs=0.1)
    again = Followed(stage)
    await again.accept(2)
    await again.wire.say(short_packet(P.DIFF, 0), packet(P.NEWLEADER, 2 << 32))
    await again.wire.hear(P.ACK)
    began = trio.current_time()
    assert "nothing was heard" in str(await again.end())
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)
