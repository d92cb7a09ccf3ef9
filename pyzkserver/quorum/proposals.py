"""Which proposals are decided: acknowledgements in, commits out, in order.  A pure state machine.

A member's log is a sequence, and it acknowledges in order.  So an acknowledgement of a zxid stands for
everything before it that was proposed to that member, and it suffices to know the highest one of each.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

__all__ = ["ProposalSizes", "Proposals", "Quorums"]


class Quorums(Protocol):
    """A configuration, as far as it matters here: ``members.Members``."""

    def contains_quorum(self, sids: Collection[int]) -> bool: ...


class ProposalSizes:
    """Bytes of the transactions that were proposed, for monitoring; -1 before there is one (``BufferStats``)."""

    __slots__ = ("last", "maximum", "minimum")

    def __init__(self) -> None:
        self.last = self.minimum = self.maximum = -1

    def add(self, size: int) -> None:
        """One more was proposed."""
        self.last = size
        if size > self.maximum:
            self.maximum = size
        if size < self.minimum or self.minimum < 0:
            self.minimum = size


class _Stretch:
    """Proposals that the same configurations decide: those from ``first`` on, until the next stretch begins."""

    __slots__ = ("deciders", "first")

    def __init__(self, first: int, deciders: tuple[Quorums, ...]) -> None:
        self.first = first
        self.deciders = deciders


class Proposals:
    """What is proposed and not committed is above ``committed`` and up to ``proposed``.

    ``acked`` holds, of each member that is connected, the last zxid that its log is known to hold.  Proposals
    are decided by the configuration that was in force when they were made; while a new one is proposed and not
    committed yet, by quorums of both (``Leader.propose``).
    """

    def __init__(self, committed: int, deciders: Sequence[Quorums]) -> None:
        self.committed = self.proposed = committed
        self.acked: dict[int, int] = {}
        self._stretches = [_Stretch(committed + 1, tuple(deciders))]

    @property
    def outstanding(self) -> int:
        """How many proposals are not committed."""
        return self.proposed - self.committed

    def decide_by(self, deciders: Sequence[Quorums]) -> None:
        """Proposals from now on need quorums of all these configurations."""
        self._stretches.append(_Stretch(self.proposed + 1, tuple(deciders)))

    def decide_the_rest_by(self, deciders: Sequence[Quorums]) -> None:
        """A new configuration is in force: it alone decides what is not committed, and all that follows.

        Whoever is elected from now on knows of it, for a quorum of the old one holds it; so quorums of the new one
        meet.  (Apache's leader goes on waiting for the old one's quorum too, of which some may observe by now.)
        """
        self._stretches = [_Stretch(self.committed + 1, tuple(deciders))]

    def propose(self, zxid: int) -> None:
        """The next proposal; their zxids follow each other."""
        assert zxid == self.proposed + 1, "proposals are made in order, and none is left out"
        self.proposed = zxid

    def ack(self, sid: int, zxid: int) -> None:
        """A member holds everything up to ``zxid`` safe.

        One that acknowledges what was not proposed yet has a defect, and is not believed beyond that.
        """
        zxid = min(zxid, self.proposed)
        if zxid > self.acked.get(sid, 0):
            self.acked[sid] = zxid

    def forget(self, sid: int) -> None:
        """A member's connection ended: whatever it acknowledged, it may lose by what the next one begins with.

        (It is told to truncate what is not committed.)  So it has to acknowledge once more.
        """
        self.acked.pop(sid, None)

    def decided(self) -> int:
        """The last zxid that may be committed now.  Whoever commits says so with ``commit``.

        It never goes beyond the stretch of the first proposal: what ends a stretch changes who decides.
        """
        while len(self._stretches) > 1 and self._stretches[1].first <= self.committed + 1:
            del self._stretches[0]
        last = self._stretches[1].first - 1 if len(self._stretches) > 1 else self.proposed
        deciders = self._stretches[0].deciders
        for candidate in sorted(set(self.acked.values()), reverse=True):
            if candidate <= self.committed:
                break
            holders = [sid for sid, zxid in self.acked.items() if zxid >= candidate]
            if all(members.contains_quorum(holders) for members in deciders):
                return min(candidate, last)
        return self.committed

    def commit(self, zxid: int) -> None:
        """Everything up to ``zxid`` is committed."""
        assert self.committed <= zxid <= self.decided()
        self.committed = zxid
