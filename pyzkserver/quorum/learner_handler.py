"""One learner's conversation with its leader or observer master, from FOLLOWERINFO to the end of its connection.

How its bytes are moved is said in ``downstream.py``, what it lacks in ``catching_up.py``, and whether it keeps up
in ``sync_limit.py``.
"""

import logging
from collections.abc import Iterable
from typing import NoReturn

import trio

from pyzkserver.storage.treestream import tree_stream
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.quorum import (
    PROTOCOL_VERSION,
    LearnerInfo,
    Packet,
    PacketError,
    PacketType,
    decode_revalidate,
    decode_touches,
    packet,
    packet_name,
    short_packet,
    split_request,
)

from .catching_up import CatchingUp
from .downstream import Downstream
from .ends import LearnerGone, LearnerRefused, QuorumLost, first_of
from .masters import LearnerMaster
from .sync_limit import SyncLimit

__all__ = ["LearnerHandler"]

logger = logging.getLogger("pyzkserver.quorum")

_ACK, _PING = int(PacketType.ACK), int(PacketType.PING)
_REQUEST, _REVALIDATE = int(PacketType.REQUEST), int(PacketType.REVALIDATE)


class LearnerHandler:
    """The other end of one learner's connection.

    ``sid`` is known when the learner said it.  A learner is ``voting`` if it came as a follower; whether its
    vote counts is the configuration's business.
    """

    def __init__(self, master: LearnerMaster, stream: trio.abc.Stream) -> None:
        self._master = master
        self._local = master.local
        self._stream = stream
        self._downstream = Downstream(self._local, stream, self._overrun, master.max_queued)
        self._outbox = self._downstream.outbox
        self._scope = trio.CancelScope()
        self._reason = ""
        self._counted = ""
        """As what its synchronization counts among those under way."""
        self.sid = 0
        self.voting = False
        self.in_broadcast = False
        self._sync_limit = SyncLimit(self._local)
        self._given = 0
        """The last zxid of the synchronization, which is committed."""
        self._believed = 0
        """The last zxid that it acknowledged, and that was proposed."""

    # the conversation

    async def run(self) -> None:
        """Serve the learner until either side ends.  A bad one costs its connection only."""
        level = logging.WARNING
        try:
            async with self._stream:
                with self._scope:
                    await self._converse()
        except* (LearnerGone, QuorumLost) as gone:
            self._reason, level = str(first_of(gone)), logging.INFO
        except* LearnerRefused as refused:
            self._reason = str(first_of(refused))
        except* (PacketError, DecodeError) as damaged:
            self._reason = f"it sent what cannot be read: {first_of(damaged)}"
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._reason, level = self._reason or "the connection broke", logging.INFO
        finally:
            self._synchronized()
            self._master.unregister(self)
        self._say_why(level)

    def _say_why(self, level: int) -> None:
        """Each time of one that was up to date; of all others not so often that they fill the log."""
        if self.in_broadcast and level == logging.INFO:
            logger.info("learner %s is gone: %s", self.name, self._reason)
        else:
            text = "closing the connection of learner %s to the %s: %s"
            self._local.complaints.say(
                text, self.name, self._master.port, self._reason, level=level, about=self._about
            )

    @property
    def name(self) -> str:
        """The learner, for people."""
        return f"{self.sid}{'' if self.voting else ' (observer)'}" if self.sid else "(not known yet)"

    @property
    def _about(self) -> int | None:
        """Whom complaints are about: a member, or nobody in particular."""
        return self.sid if self.sid in self._local.members else None

    def end(self, reason: str) -> None:
        """Close the connection."""
        self._reason = self._reason or reason
        self._master.unregister(self)
        self._scope.cancel()

    async def _converse(self) -> None:
        master, local = self._master, self._local
        accepted = await self._hear_who()
        epoch = await master.epoch_for(self.sid, accepted)
        await self._downstream.say(packet(PacketType.LEADERINFO, epoch << 32, PROTOCOL_VERSION.to_bytes(4)))
        answer = await self._downstream.next(PacketType.ACKEPOCH)
        if len(answer.body) < 4:
            raise LearnerRefused(f"ACKEPOCH with {len(answer.body)} bytes")
        current = int.from_bytes(answer.body[:4], signed=True)
        await master.accept_epoch(self.sid, current, answer.zxid)
        master.register(self)
        async with trio.open_nursery() as nursery:
            await self._synchronize(answer.zxid)
            nursery.start_soon(self._outbox.run)
            acknowledged = await self._downstream.next(PacketType.ACK)
            self._synchronized()
            await master.holds_history(self.sid, acknowledged.zxid)
            # What it was synchronized with is acknowledged as a whole: only what was proposed since is owed.
            limit = self._sync_limit
            limit.acknowledged = self._believed = max(limit.acknowledged, self._given)
            self._downstream.patience = local.sync_seconds
            self._sync_limit.heard()
            self.in_broadcast = True
            self.queue(short_packet(PacketType.UPTODATE, -1))
            await self._listen()

    async def _hear_who(self) -> int:
        """The epoch that it accepted last."""
        first = await self._downstream.next(PacketType.FOLLOWERINFO, PacketType.OBSERVERINFO)
        if self._master.observers_only and first.type != PacketType.OBSERVERINFO:
            raise LearnerRefused("it wants to follow, and this member serves observers: it does not lead")
        info, version = first.body, 0
        if len(info) >= 8:
            self.sid = int.from_bytes(info[:8], signed=True)
        if len(info) >= 12:
            version = int.from_bytes(info[8:12], signed=True)
        if self.sid == self._local.sid:
            raise LearnerRefused("it has this leader's own id: one of the two myid files is wrong")
        if version < PROTOCOL_VERSION:
            raise LearnerRefused(f"it speaks protocol version 0x{version:x}, of a server before 3.4")
        if len(info) >= 20:
            theirs, ours = LearnerInfo.decode(info).config_version, self._local.members.version
            if theirs > ours:
                raise LearnerRefused(
                    f"its configuration (version 0x{theirs:x}) is newer than this member's (0x{ours:x})"
                )
        self.voting = first.type == PacketType.FOLLOWERINFO
        return first.zxid >> 32

    # synchronization

    async def _synchronize(self, peer_last: int) -> None:
        """Bring it to this leader's history, and from there on forward everything to it."""
        master, local = self._master, self._local
        telling = master.telling
        missing = CatchingUp(local, telling.replica.tree).missing(peer_last, self.name)
        if missing is not None:
            self._admit("diffs", local.config.max_concurrent_diff_syncs)
            packets, self._given = missing
            # What follows those is queued in the same breath, NEWLEADER too: nothing comes in between.  (Apache's
            # followers stumble over a COMMIT between NEWLEADER and UPTODATE if they have no proposal at hand,
            # ZOOKEEPER-4394, and then try again.)
            telling.flush()
            self._outbox.begin_with(b"".join(packets))
            telling.start_forwarding(self, self._given, voting=self.voting)
        else:
            await self._send_snapshot()
        announced = str(master.announced(voting=self.voting)).encode()
        telling.send(self, packet(PacketType.NEWLEADER, master.epoch << 32, announced))

    async def _send_snapshot(self) -> None:
        master, local = self._master, self._local
        telling = master.telling
        self._admit("snapshots", local.config.max_concurrent_snap_syncs)
        replica = telling.replica
        zxid = replica.tree.last_zxid
        sessions = replica.sessions.timeouts()
        # The tree is read a piece at a time while it changes; it begins here, and whatever is applied from
        # now on is queued behind it.
        self._given = zxid
        telling.flush()
        pieces = tree_stream(replica.tree, sessions)
        telling.start_forwarding(self, zxid, voting=self.voting)
        logger.info("learner %s gets a snapshot of 0x%x", self.name, zxid)
        await self._downstream.say(short_packet(PacketType.SNAP, zxid))
        for piece in pieces:
            if piece:
                await self._downstream.say(piece)
            else:
                await trio.lowlevel.checkpoint()

    def _admit(self, kind: str, limit: int) -> None:
        """Observers wait for better times (``LearnerSyncThrottler``); members that vote are never turned away."""
        under_way = self._master.synchronizing
        if not self.voting and under_way[kind] >= limit:
            raise LearnerRefused(f"{under_way[kind]} learners are getting {kind} already")
        under_way[kind] += 1
        self._counted = kind

    def _synchronized(self) -> None:
        """It has acknowledged the history, or will not."""
        if self._counted:
            self._master.synchronizing[self._counted] -= 1
            self._counted = ""

    # broadcast

    async def _listen(self) -> NoReturn:
        """Everything that it says from now on."""
        packets: Iterable[Packet] = self._downstream.received()
        while True:
            for one in packets:
                self._hear(one)
            self._after_batch()
            if self._master.busy:
                await self._master.until_ready()
            packets = await self._downstream.packets()
            self._sync_limit.heard()

    def _hear(self, one: Packet) -> None:
        type_, zxid, _, _ = one
        if type_ == _ACK:
            # One for each proposal: nearly half of what a learner says.
            if zxid > self._sync_limit.acknowledged:
                self._sync_limit.acknowledged = zxid
            return
        telling = self._master.telling
        if type_ == _REQUEST:
            session_id, cxid, op, body = split_request(one.body)
            telling.request(self, session_id, cxid, op, body, one.authinfo)
        elif type_ == _PING:
            now = self._sync_limit.now()
            for session_id, timeout in decode_touches(one.body):
                telling.touch(session_id, timeout, now)
        elif type_ == _REVALIDATE:
            telling.revalidate(self, *decode_revalidate(one.body))
        else:
            # Apache's goes on as well: a later version may have more to say.
            text = "learner %s sent %s, which no learner sends: it is passed over"
            self._local.complaints.say(text, self.name, packet_name(type_), about=self._about)

    def _after_batch(self) -> None:
        telling = self._master.telling
        if self.voting:
            limit = self._sync_limit
            if limit.acknowledged > telling.last_proposed:
                # It would count for all that is still to be proposed (``Leader.processAck`` passes over it, too).
                text = "learner %s acknowledged 0x%x, which was not proposed: it is passed over"
                self._local.complaints.say(text, self.name, limit.acknowledged, about=self._about)
                limit.acknowledged = self._believed
            self._believed = limit.acknowledged
            telling.acknowledged(self.sid, self._believed)
        telling.flush_if_little()

    def excuse(self, milliseconds: int) -> None:
        """Somebody has put the clock forward by so much, in which nobody could have said anything."""
        self._sync_limit.excuse(milliseconds)

    @property
    def synced(self) -> bool:
        """Whether it holds the history, and was heard of within syncLimit."""
        return self._sync_limit.met

    def ping(self) -> None:
        """Ask whether it is there, and end what owes an acknowledgement for too long."""
        if not self.in_broadcast:
            return
        telling = self._master.telling
        if self.voting and (owed := self._sync_limit.owes(telling.last_proposed)) is not None:
            self.end(f"it has not acknowledged 0x{owed:x} within syncLimit")
            return
        telling.send(self, short_packet(_PING, telling.last_proposed))

    # sending

    def queue(self, data: bytes) -> None:
        """Send this, after everything queued before."""
        self._outbox.queue(data)

    def push(self) -> None:
        """What is queued can go."""
        self._outbox.push()

    @property
    def told(self) -> bool:
        """Whether all that was queued has left."""
        return self._outbox.empty

    def _overrun(self, waiting: int) -> None:
        self.end(f"{waiting} bytes wait for it: it has to synchronize anew")
