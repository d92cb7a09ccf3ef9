"""How a learner comes to hold its leader's history: DIFF, TRUNC or SNAP.  Pure decisions.

``LearnerHandler.syncFollower`` and ``queueCommittedProposals`` decide the same; the order of the questions is
theirs.  Where the transactions come from and how they are sent is said elsewhere.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

__all__ = ["Beginning", "Plan", "Sources", "beginning_of", "plan_sync"]

_COUNTER = 0xFFFF_FFFF


class Sources(Enum):
    """Where the transactions that the learner lacks are taken from."""

    NOWHERE = "nowhere"
    COMMITTED_LOG = "the transactions in memory"
    LOG_ON_DISK = "the log on disk, then those in memory"
    SNAPSHOT = "a snapshot"


class Plan(NamedTuple):
    """The first decision: from where, and what is clear already.

    ``packet`` is ("DIFF" or "TRUNC", zxid), or None where it depends on the transactions (``beginning_of``).
    """

    source: Sources
    packet: tuple[str, int] | None = None


class Beginning(NamedTuple):
    """The packet that begins the synchronization, and the zxid after which transactions follow."""

    name: str
    zxid: int
    after: int


def plan_sync(
    peer_last: int,
    *,
    processed: int,
    first_kept: int | None,
    last_kept: int | None,
    log_on_disk: bool,
    force_snapshot: bool = False,
) -> Plan:
    """Where to take what a learner lacks from, whose log ends with ``peer_last``.

    ``processed`` is the last zxid that the leader applied; ``first_kept`` and ``last_kept`` are those of the
    committed transactions in memory, None where there are none.  ``log_on_disk``: whether the leader's log
    may be read for this (``snapshotSizeFactor`` below 0 forbids it).
    """
    if force_snapshot:
        return Plan(Sources.SNAPSHOT)
    if first_kept is None or last_kept is None:
        first_kept = last_kept = processed
    # A leader that was just elected, and a learner that took its snapshot then, are at a zxid that is no
    # transaction's.  Such a learner has nothing to truncate.
    at_start_of_epoch = peer_last & _COUNTER == 0
    if peer_last == processed:
        return Plan(Sources.NOWHERE, ("DIFF", peer_last))
    if peer_last > last_kept and not at_start_of_epoch:
        return Plan(Sources.NOWHERE, ("TRUNC", last_kept))
    if first_kept <= peer_last <= last_kept:
        return Plan(Sources.COMMITTED_LOG)
    if peer_last < first_kept and log_on_disk:
        return Plan(Sources.LOG_ON_DISK)
    return Plan(Sources.SNAPSHOT)


def beginning_of(peer_last: int, zxids: Iterable[int], last_committed: int) -> Beginning | None:
    """With what to begin when the transactions ``zxids``, in order, are at hand; None: only a snapshot helps.

    ``last_committed`` is what a DIFF names.
    """
    at_start_of_epoch = peer_last & _COUNTER == 0
    previous = -1
    for zxid in zxids:
        if zxid < peer_last:
            previous = zxid
        elif zxid == peer_last or at_start_of_epoch:
            return Beginning("DIFF", last_committed, peer_last)
        elif zxid >> 32 != peer_last >> 32 or previous < 0:
            # A learner cannot truncate to another epoch.  And who has something that this leader knows nothing
            # about, nor what came before it, has to begin anew.
            return None
        else:
            # It has what was never committed.  Everything after the last thing that both have follows anew.
            return Beginning("TRUNC", previous, previous)
    return Beginning("DIFF", last_committed, peer_last) if at_start_of_epoch else None
