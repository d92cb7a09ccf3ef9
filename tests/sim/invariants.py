"""What must hold at every moment, asserted when something is sent, shown or applied.

The names are those of the TLA+ specification of Apache's (``zookeeper-specifications/system-spec``):

- Leadership: one epoch has one leader (NEWLEADER), and a quorum accepted that epoch before.
- PrefixConsistency, TotalOrder, Agreement, LocalPrimaryOrder, GlobalPrimaryOrder: what members show lies on one
  line of transactions; one zxid is one transaction with one predecessor and one resulting tree, everywhere.
- Integrity: nothing is applied that no leader proposed.
- PrimaryIntegrity: who begins an epoch holds everything that anybody was ever shown.

And what makes them hold, asserted where it is promised: an ACK, COMMIT, ACKEPOCH or reply leaves only when the
disks that it speaks for hold what it says, so surely that no crash takes it away.  That is looked up on the disks
themselves.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import trio

from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txncodec import decode_transaction, encode_transaction
from pyzkserver.wire.election import Notification
from pyzkserver.wire.quorum import Packet, PacketType

from .addresses import OBSERVER_MASTER_PORT
from .disk import SimDisk
from .stream import SimStream
from .taps import describe_transaction

__all__ = ["Checker", "Watched"]

COUNTER = 0xFFFF_FFFF
VERSION_2 = Path("/var/data/version-2")


class Watched(Protocol):
    """A member, as far as it matters here."""

    address: str
    disk: SimDisk
    voting: bool

    @property
    def tree(self) -> DataTree | None:
        """The tree that it serves from, as long as it runs."""

    @property
    def held(self) -> DataTree | None:
        """The tree that it works on."""


class _Sync(NamedTuple):
    """What a leader told one learner before NEWLEADER."""

    epoch: int
    needed: int
    """The last zxid that the learner must hold when it acknowledges."""


class Checker:
    """``violations`` says what was broken; ``broken`` is set with the first."""

    def __init__(self, members: Iterable[Watched], note: Callable[[str], None]) -> None:
        self.members = {member.address: member for member in members}
        self.note = note
        self.violations: list[str] = []
        self.broken = trio.Event()
        self.transactions: dict[int, Transaction] = {}
        """Everything that was ever proposed, or applied, by zxid."""
        self.established: list[tuple[float, int]] = []
        self.leaders: dict[int, str] = {}
        """Who sent NEWLEADER, by epoch."""
        self.shown: set[int] = {0}
        """The line that clients were shown a part of: all zxids on it."""
        self.tip = 0
        """The highest of those."""
        self._raw: dict[int, bytes] = {}
        self._plain: dict[int, bytes] = {}
        self._before: dict[int, int] = {}
        self._digests: dict[int, int] = {}
        self._last: dict[int, tuple[DataTree, int]] = {}
        self._bases: dict[int, int] = {}
        """The last transaction before the first of an epoch, by the zxid of its beginning."""
        self._offered: dict[SimStream, int] = {}
        self._synced: dict[SimStream, int] = {}
        self._syncs: dict[SimStream, _Sync] = {}
        self._epochs: dict[SimStream, int] = {}
        self.quorum: Callable[[set[str]], bool] = self._majority
        """Whether these addresses are enough to decide."""

    def violated(self, name: str, text: str) -> None:
        self.violations.append(f"{trio.current_time():.4f} {name}: {text}")
        self.note(f"!!! {name}: {text}")
        self.broken.set()

    # what is on the disks

    def holds(self, member: Watched, zxid: int) -> bool:
        """Whether this member has the transaction, or a snapshot with it, whatever happens now."""
        raw = self._plain.get(zxid)
        for name, content in member.disk.surely(VERSION_2).items():
            kind, _, number = name.partition(".")
            if kind == "log" and raw is not None and int(number, 16) <= zxid and raw in content:
                return True
            if kind == "snapshot" and content and int(number.split(".")[0], 16) >= zxid:
                return True
        return False

    def _epoch_on_disk(self, member: Watched, name: str) -> int:
        return int(bytes(member.disk.surely(VERSION_2).get(name, b"")) or b"-1")

    def _majority(self, addresses: set[str]) -> bool:
        voters = [member.address for member in self.members.values() if member.voting]
        return 2 * len(addresses.intersection(voters)) > len(voters)

    def _quorum_holds(self, zxid: int) -> bool:
        return self.quorum({address for address, each in self.members.items() if self.holds(each, zxid)})

    def _quorum_has_epoch(self, name: str, epoch: int) -> bool:
        return self.quorum(
            {address for address, each in self.members.items() if self._epoch_on_disk(each, name) >= epoch}
        )

    # what leaders and learners tell each other

    def packet(self, stream: SimStream, packet: Packet) -> None:
        """Something leaves on the quorum port."""
        handler = _HANDLERS.get(packet.type)
        if (
            handler is not None
            and stream.local.address in self.members
            and stream.remote.address in self.members
        ):
            handler(self, stream, packet)

    def notification(self, stream: SimStream, notification: Notification) -> None:
        """Votes bind nobody."""

    def _leaderinfo(self, stream: SimStream, packet: Packet) -> None:
        self._offered[stream.peer] = packet.zxid >> 32

    def _ackepoch(self, stream: SimStream, packet: Packet) -> None:
        epoch = self._offered.get(stream, -1)
        accepted = self._epoch_on_disk(self.members[stream.local.address], "acceptedEpoch")
        if accepted != epoch:
            self.violated(
                "Leadership",
                f"{stream.local.address} acknowledges epoch {epoch} of {stream.remote.address}, and its disk says"
                f" {accepted}",
            )

    def _proposal(self, stream: SimStream, packet: Packet) -> None:
        raw = packet.body
        known = self._raw.get(packet.zxid)
        if known is None:
            self._raw[packet.zxid] = raw
        if known != raw:
            self._enter(decode_transaction(raw).txn, stream.local.address)

    def _enter(self, txn: Transaction, by: str) -> None:
        plain = encode_transaction(txn, None)
        if self._plain.setdefault(txn.zxid, plain) != plain:
            self.violated(
                "TotalOrder",
                f"0x{txn.zxid:x} is {describe_transaction(self.transactions[txn.zxid])}, and to {by} it is"
                f" {describe_transaction(txn)}",
            )
        self.transactions.setdefault(txn.zxid, txn)

    def _snap(self, stream: SimStream, packet: Packet) -> None:
        self._synced[stream] = packet.zxid

    def _diff(self, stream: SimStream, packet: Packet) -> None:
        self._synced[stream] = 0

    def _newleader(self, stream: SimStream, packet: Packet) -> None:
        epoch, address = packet.zxid >> 32, stream.local.address
        if stream.port == OBSERVER_MASTER_PORT:
            # Who serves observers follows in this epoch: somebody else leads it.
            if self.leaders.get(epoch, address) == address:
                self.violated(
                    "Leadership", f"{address} serves observers in epoch {epoch}, and does not follow"
                )
        elif self.leaders.setdefault(epoch, address) != address:
            self.violated("Leadership", f"{address} and {self.leaders[epoch]} both lead epoch {epoch}")
        if not self._quorum_has_epoch("acceptedEpoch", epoch):
            self.violated("Leadership", f"{address} leads epoch {epoch}, which no quorum accepted")
        behind = max((zxid for zxid in self.shown if zxid >> 32 < epoch), default=0)
        if behind and not self.holds(self.members[address], behind):
            self.violated("PrimaryIntegrity", f"{address} leads epoch {epoch}, and lacks 0x{behind:x}")
        held = self.members[address].held
        if held is not None:
            last = self._resolve(held, held.last_zxid)
            if last is not None and last >> 32 < epoch:
                self._bases.setdefault(packet.zxid, last)
        self._epochs[stream] = epoch
        self._syncs[stream.peer] = _Sync(epoch, self._synced.get(stream, 0))

    def _ack(self, stream: SimStream, packet: Packet) -> None:
        member = self.members[stream.local.address]
        if packet.zxid & COUNTER == 0:
            self._ack_of_newleader(member, stream, packet.zxid)
        elif member.voting and not self.holds(member, packet.zxid):
            self.violated(
                "ack", f"{member.address} acknowledges 0x{packet.zxid:x}, and may lose it in a crash"
            )

    def _ack_of_newleader(self, member: Watched, stream: SimStream, zxid: int) -> None:
        sync = self._syncs.get(stream)
        if sync is None or sync.epoch != zxid >> 32:
            return  # UPTODATE is acknowledged as well, and that says nothing
        current = self._epoch_on_disk(member, "currentEpoch")
        if current != sync.epoch:
            self.violated(
                "ack",
                f"{member.address} acknowledges to follow epoch {sync.epoch}, and its disk says {current}",
            )
        if sync.needed & COUNTER and not self.holds(member, sync.needed):
            self.violated(
                "ack",
                f"{member.address} follows epoch {sync.epoch}, and may lose 0x{sync.needed:x} in a crash",
            )

    def _commit(self, stream: SimStream, packet: Packet) -> None:
        # What a new leader found in its log is committed by a quorum that follows it, not before (see _uptodate).
        if stream not in self._epochs:
            self._synced[stream] = packet.zxid
        if self._epochs.get(stream) != packet.zxid >> 32:
            return
        self._check_decided(stream.local.address, packet.zxid)

    def _check_decided(self, address: str, zxid: int) -> None:
        if zxid & COUNTER and zxid not in self.shown and not self._quorum_holds(zxid):
            self.violated("commit", f"{address} commits 0x{zxid:x}, which no quorum holds for sure")

    def _inform(self, stream: SimStream, packet: Packet) -> None:
        self._proposal(stream, packet)
        self._commit(stream, packet)

    def _uptodate(self, stream: SimStream, packet: Packet) -> None:
        epoch, address = self._epochs.get(stream, 0), stream.local.address
        if all(epoch != known for _, known in self.established):
            self.established.append((trio.current_time(), epoch))
        if not self._quorum_has_epoch("currentEpoch", epoch):
            self.violated(
                "Leadership", f"{address} serves in epoch {epoch}, which no quorum follows for sure"
            )

    # what clients are shown

    def reply(self, stream: SimStream, xid: int, zxid: int, err: int) -> None:
        """A reply leaves: nobody may forget any more what it tells."""
        if zxid <= 0 or xid == -1 or zxid in self.shown or stream.local.address not in self.members:
            return
        if stream.read_only:
            # What such a member holds may never have been decided; that it was proposed is all that is sure.
            if zxid & COUNTER and zxid not in self.transactions:
                self.violated("Integrity", f"{stream.local.address} shows 0x{zxid:x}, which nobody proposed")
            return
        if zxid & COUNTER == 0:
            return  # the beginning of an epoch is no transaction
        address = stream.local.address
        if zxid not in self.transactions:
            self.violated("Integrity", f"{address} shows 0x{zxid:x}, which nobody proposed")
            return
        self._check_decided(address, zxid)
        line, at = [], zxid
        while at not in self.shown and at in self._before:
            line.append(at)
            at = self._before[at]
        if at in self.shown and at != self.tip:
            self.violated(
                "PrefixConsistency",
                f"{address} shows 0x{zxid:x}, which comes after 0x{at:x}, and somebody was shown 0x{self.tip:x}",
            )
        self.shown.update(line or [zxid])
        self.tip = max(self.tip, zxid)

    # what is applied

    def applied(self, tree: DataTree, txn: Transaction, last_zxid: int) -> None:
        """A tree has this transaction from now on."""
        zxid = txn.zxid
        last = self._resolve(tree, last_zxid)
        self._last[id(tree)] = (tree, zxid)
        member = next((each for each in self.members.values() if each.tree is tree), None)
        whose = f"{member.address}" if member is not None else "somebody"
        self._enter(txn, whose)
        if last is not None:
            if zxid <= last:
                self.violated("TotalOrder", f"{whose} applies 0x{zxid:x} after 0x{last:x}")
            before = self._before.setdefault(zxid, last)
            if before != last:
                self.violated(
                    "PrefixConsistency",
                    f"{whose} applies 0x{zxid:x} after 0x{last:x}, and others after 0x{before:x}",
                )
        if member is None:
            return
        digest = tree.digest.value()
        if self._digests.setdefault(zxid, digest) != digest:
            self.violated("Agreement", f"after 0x{zxid:x} the tree of {whose} is another one than elsewhere")

    def recovered(self, tree: DataTree) -> None:
        """A tree was read from a disk; where that was a snapshot alone, nothing was applied to it."""
        if tree.last_zxid & COUNTER:
            self._last[id(tree)] = (tree, tree.last_zxid)

    def _resolve(self, tree: DataTree, zxid: int) -> int | None:
        """The last transaction of a tree that is at ``zxid``.

        The beginning of an epoch is no transaction: then it is the one that this tree had before, which is the
        same everywhere.
        """
        if zxid & COUNTER or not zxid:
            return zxid
        known = self._last.get(id(tree))
        if known is None:
            return self._bases.get(zxid)
        base = self._bases.setdefault(zxid, known[1])
        if base != known[1]:
            self.violated(
                "PrimaryIntegrity",
                f"epoch {zxid >> 32} begins after 0x{known[1]:x} for one member, after 0x{base:x} for another",
            )
        return known[1]

    def line(self, tree: DataTree) -> list[Transaction]:
        """The transactions that led to this tree, in order, as far back as they are known."""
        return self._line(self._resolve(tree, tree.last_zxid))

    def line_to(self, zxid: int) -> list[Transaction]:
        """The transactions that led to this one, whether it was decided or not."""
        return self._line(zxid if zxid & COUNTER else self._bases.get(zxid))

    def _line(self, at: int | None) -> list[Transaction]:
        line = []
        while at and at in self.transactions:
            line.append(self.transactions[at])
            at = self._before.get(at)
        return line[::-1]


_HANDLERS: dict[int, Callable[[Checker, SimStream, Packet], Any]] = {
    int(PacketType.LEADERINFO): Checker._leaderinfo,
    int(PacketType.ACKEPOCH): Checker._ackepoch,
    int(PacketType.DIFF): Checker._diff,
    int(PacketType.TRUNC): Checker._diff,
    int(PacketType.SNAP): Checker._snap,
    int(PacketType.PROPOSAL): Checker._proposal,
    int(PacketType.NEWLEADER): Checker._newleader,
    int(PacketType.ACK): Checker._ack,
    int(PacketType.COMMIT): Checker._commit,
    int(PacketType.INFORM): Checker._inform,
    int(PacketType.UPTODATE): Checker._uptodate,
}
