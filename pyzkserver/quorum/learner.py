"""Following or observing, as the paper reads: discovery, synchronization, broadcast.  Tasks that wait.

The way of writes is in ``following.py``.  What the leader decides about the synchronization is in ``syncplan.py``.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn

import trio

from pyzkserver.replica import upkeep
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.damage import SnapshotDamaged
from pyzkserver.storage.treestream import receive_tree
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.quorum import (
    Packet,
    PacketError,
    PacketType,
    decode_revalidated,
    packet_name,
    short_packet,
    split_activation,
)
from pyzkserver.wire.requests import OpCode

from .activation import Activation, configuration_in
from .config_node import furnish_config, shown_config
from .discovery import register
from .ends import LeaderLost, Reconfigured, first_of
from .following import Following
from .learner_sessions import LearnerSessions
from .local import Local
from .members import Address, Members
from .observer_master import ObserverMaster
from .upstream import Upstream

__all__ = ["Learner"]

logger = logging.getLogger("pyzkserver.quorum")

_RECONFIG = int(OpCode.RECONFIG)
_PROPOSAL, _COMMIT, _INFORM = int(PacketType.PROPOSAL), int(PacketType.COMMIT), int(PacketType.INFORM)


class Learner:
    """One time of following one leader, from the end of an election to the loss of that leader.

    ``upstream`` is whom it learns from, for people: an observer may do so from an observer master.
    """

    def __init__(
        self,
        local: Local,
        leader: int,
        *,
        voting: bool,
        on_established: Callable[[int], None],
        upstream: str = "the leader",
    ) -> None:
        self.local = local
        self.leader = leader
        self.upstream = Upstream(local, upstream)
        self.voting = voting
        self.epoch = 0
        self.following: Following
        self.master: ObserverMaster | None = None
        """What serves observers, while this member follows and observerMasterPort is set."""
        self.established = False
        self._activation = Activation(local, leader)
        self._on_established = on_established
        self._held: deque[tuple[int, bytes]] = deque()
        """Proposals that came before NEWLEADER and are not committed: they are logged once its epoch is current."""
        self._in_memory = False
        """A leader's tree was received and is not on disk yet: what follows is applied to it alone."""
        self._tree: DataTree
        self._shown: Members | None = None
        """The configuration that was in force where the tree comes from."""

    async def run(self, leader: Iterable[Address]) -> NoReturn:
        """Follow the leader at one of these addresses until it is lost.  Raises LeaderLost."""
        try:
            async with await self.upstream.connect(leader), trio.open_nursery() as nursery:
                self.epoch = await register(self.local, self.upstream, voting=self.voting)
                nursery.start_soon(self.upstream.send)
                await self._synchronize(nursery)
                self._serve_clients(nursery)
                await self._follow()
        except* (PacketError, DecodeError, SnapshotDamaged) as damaged:
            raise LeaderLost(f"{self.upstream.name} sent what cannot be read: {first_of(damaged)}") from None
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as broken:
            raise LeaderLost(f"the connection to {self.upstream.name} broke: {first_of(broken)}") from None
        raise AssertionError("following ends by an exception")

    # synchronization

    async def _synchronize(self, nursery: trio.Nursery) -> None:
        """Take over the leader's history (``syncWithLeader``)."""
        local = self.local
        history = local.history
        first = await self.upstream.next()
        sessions: dict[int, int] | None = None
        if first.type == PacketType.DIFF:
            logger.info("the leader sends what is missing up to 0x%x", first.zxid)
        elif first.type == PacketType.TRUNC:
            logger.warning("the leader knows nothing beyond 0x%x: the rest is taken back", first.zxid)
            await history.truncate(first.zxid)
            if history.last_zxid != first.zxid:
                raise LeaderLost(
                    f"the log could not be cut at 0x{first.zxid:x}: it ends at 0x{history.last_zxid:x}"
                )
        elif first.type == PacketType.SNAP:
            sessions = await self._receive_snapshot(first.zxid)
        else:
            raise LeaderLost(f"the leader sent {packet_name(first.type)} where DIFF, TRUNC or SNAP was due")
        self._take_role(sessions)
        announced = await self._until_new_leader()
        nursery.start_soon(history.keep, self.following.replica)
        await self._until_up_to_date()
        if announced is not None:
            goes_on = self._activation.take_over(self._decided(announced))
            furnish_config(self.following.replica.tree, local.members, local.host.wall_ms())
            if not goes_on:
                raise LeaderLost("the leader's configuration gives this member, or the leader, another place")

    def _decided(self, announced: Members) -> Members:
        """What the leader announced comes into force with UPTODATE, unless its proposal is still under way.

        Then what came with the history does.  (Apache's goes by what is announced, and tells it to others, who take
        it over as well, although it may be taken back.)
        """
        replica = self.following.replica
        if all(proposal.zxid != announced.version for proposal in replica.in_flight):
            return announced
        known = (self.local.members, self._shown, shown_config(replica.tree))
        return max((each for each in known if each is not None), key=lambda each: each.version)

    async def _receive_snapshot(self, zxid: int) -> dict[int, int]:
        logger.info("the leader sends its whole tree at 0x%x", zxid)
        self._tree = self.local.history.empty_tree()
        # What was read beyond the SNAP packet belongs to the tree; what is read beyond the tree are packets.
        snapshot, rest = await receive_tree(self.upstream.receive, self._tree, self.upstream.rest())
        self.upstream.put_back(rest)
        self._tree.last_zxid = zxid
        self._in_memory = True
        return dict(snapshot.sessions)

    def _take_role(self, sessions: dict[int, int] | None) -> None:
        local = self.local
        if sessions is not None:
            replica = local.new_replica_in_memory(LearnerSessions, self._tree, sessions)
        else:
            replica = local.new_replica(LearnerSessions, voting=self.voting)
        self._shown = shown_config(replica.tree)
        furnish_config(replica.tree, local.members, local.host.wall_ms())
        self.following = Following(
            replica,
            self.queue,
            voting=self.voting,
            local_sessions=local.config.local_sessions_enabled,
            upgrading=local.config.local_sessions_upgrading_enabled,
        )
        replica.take_role(self.following)

    async def _until_new_leader(self) -> Members | None:
        """Everything up to NEWLEADER, and its acknowledgement.  Returns the configuration that it announces."""
        local, following = self.local, self.following
        history = local.history
        while (one := await self.upstream.next()).type != PacketType.NEWLEADER:
            self._take_missing(one)
        announced = None
        if one.data is not None and len(one.data) > 1:
            announced = Members.parse(one.data.decode("utf-8", "replace"), "the leader's configuration")
            local.see(announced)
        replica = following.replica
        if self._in_memory:
            await history.adopt(replica.tree, replica.sessions.timeouts())
            replica.log = local.new_log(voting=self.voting)
            history.taken_by(replica)
            replica.take_role(following)
            self._in_memory = False
        else:
            await history.flushed()
            # An observer without a log as well: the leader may know already that this member votes.
            await history.secure(replica.sessions.timeouts())
        if announced is not None:
            local.take_back(announced)
        # Now, and not before, this member holds the leader's history safe: everything up to here is on its
        # disk.  Only then may the epoch be its own (ZOOKEEPER-4643, -4785), and only then may it say so: the
        # leader counts this as a vote that all of it is committed (ZOOKEEPER-3911, -4646).
        history.epochs.set_current(self.epoch)
        following.skip_acknowledging(replica.tree.last_zxid)
        self.upstream.patience = local.sync_seconds
        self.queue(short_packet(PacketType.ACK, self.epoch << 32))
        following.comparison.enabled = local.config.digest_enabled
        # What was proposed and not committed is logged and acknowledged like any other proposal.
        following.on_durable = self._acknowledge
        for zxid, payload in self._held:
            self._log(zxid, payload)
        self._held.clear()
        return announced

    def _acknowledge(self) -> None:
        self.following.acknowledge()
        self.upstream.push()

    def _take_missing(self, one: Packet) -> None:
        """One packet before NEWLEADER."""
        if one.type == _PROPOSAL:
            self._held.append((one.zxid, one.body))
        elif one.type in (_COMMIT, PacketType.COMMITANDACTIVATE):
            if not self._held or self._held[0][0] != one.zxid:
                raise LeaderLost(f"the leader committed 0x{one.zxid:x}, which it did not propose next")
            zxid, payload = self._held.popleft()
            if one.type == _COMMIT:
                self._commit(zxid, payload)
            else:
                leader = split_activation(one.body)[0]
                self._activation.activate(leader, payload, partial(self._commit, zxid, payload))
        elif one.type == _INFORM:
            self._commit(one.zxid, one.body)
        elif one.type == PacketType.INFORMANDACTIVATE:
            self._hear_activation(one)
        elif one.type == PacketType.UPTODATE:
            raise LeaderLost("the leader sent UPTODATE before NEWLEADER, as those before 3.4 did")
        elif one.type != PacketType.PING:
            self._pass_over(one)

    def _commit(self, zxid: int, payload: bytes) -> None:
        """A decided transaction of the synchronization."""
        if self._in_memory:
            self.following.apply_alone(payload)
        else:
            self._log(zxid, payload)
            self._apply(zxid)

    def _log(self, zxid: int, payload: bytes) -> None:
        txn = self.following.proposed(payload)
        if txn.zxid != zxid:
            raise LeaderLost(f"the leader proposed transaction 0x{txn.zxid:x} as 0x{zxid:x}")
        if txn.op == _RECONFIG:
            # Known on disk before this is acknowledged: whoever might be elected with this member's vote, while
            # nobody knows whether the reconfiguration is decided, needs the votes of both configurations.
            self.local.see(configuration_in(txn))

    def _apply(self, zxid: int) -> None:
        payload = self._apply_next(zxid)
        if self.master is not None:
            self.master.telling.inform(zxid, payload)

    def _apply_activation(self, leader: int, zxid: int) -> None:
        payload = self._apply_next(zxid)
        if self.master is not None:
            self.master.telling.inform_and_activate(leader, zxid, payload)

    def _apply_next(self, zxid: int) -> bytes:
        proposal = self.following.committed(zxid)
        assert proposal.txn is not None
        self.local.history.commit_log.add(proposal.txn, proposal.payload)
        return proposal.payload

    async def _until_up_to_date(self) -> None:
        while (one := await self.upstream.next()).type != PacketType.UPTODATE:
            self._hear(one)
        self.queue(short_packet(PacketType.ACK, self.epoch << 32))

    # broadcast

    def _serve_clients(self, nursery: trio.Nursery) -> None:
        if self.local.config.local_sessions_enabled:
            nursery.start_soon(upkeep.keep_sessions, self.following.replica, self.local.host)
        if self.voting and self.local.config.observer_master_port:
            self.master = ObserverMaster(self.local, self.epoch, self.following, self.upstream)
            self.following.observers = self.master.telling.observers
            nursery.start_soon(self.master.run)
        self.established = True
        self._on_established(self.epoch)
        self.local.clients.start_serving(self.following.replica)

    async def _follow(self) -> NoReturn:
        hear = self._hear
        packets = self.upstream.received()
        while True:
            try:
                for one in packets:
                    hear(one)
            except Reconfigured:
                if self.master is not None:
                    await self.master.farewell()
                raise
            if self.master is not None:
                self.master.telling.flush()
            self.following.comparison.compare()
            packets = await self.upstream.packets()

    def _hear(self, one: Packet) -> None:
        type_ = one.type
        if type_ == _PROPOSAL:
            if self.voting:
                self._log(one.zxid, one.body)
        elif type_ == _COMMIT:
            if self.voting:
                self._apply(one.zxid)
        elif type_ == _INFORM and not self.voting:
            self._commit(one.zxid, one.body)
        else:
            self._hear_rarely(one)

    def _hear_rarely(self, one: Packet) -> None:
        following = self.following
        if one.type == PacketType.PING:
            following.answer_ping(one.zxid)
        elif one.type == PacketType.REVALIDATE:
            following.questions.revalidated(*decode_revalidated(one.body))
        elif one.type == PacketType.SYNC:
            following.questions.synced()
        elif one.type == (PacketType.COMMITANDACTIVATE if self.voting else PacketType.INFORMANDACTIVATE):
            self._hear_activation(one)
        else:
            self._pass_over(one)

    def _pass_over(self, one: Packet) -> None:
        """What is not due, or not known, changes nothing (``Follower.processPacket``, ``Observer.processPacket``)."""
        text = "%s sent %s, which is not due now: it is passed over"
        self.local.complaints.say(text, self.upstream.name, packet_name(one.type), about=self.leader)

    def _hear_activation(self, one: Packet) -> None:
        """A reconfiguration is committed, and the leader says who leads from now on."""
        leader, payload = split_activation(one.body)
        if one.type == PacketType.INFORMANDACTIVATE:
            self._activation.activate(leader, payload, partial(self._commit, one.zxid, payload))
        else:
            in_flight = self.following.replica.in_flight
            payload = in_flight[0].payload if in_flight else b""
            self._activation.activate(leader, payload, partial(self._apply_activation, leader, one.zxid))

    def queue(self, data: bytes) -> None:
        """Send this to the leader, after everything queued before."""
        self.upstream.queue(data)
