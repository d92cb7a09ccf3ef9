"""Votes and who has won: FastLeaderElection as a state machine without clocks, sockets or tasks.

What waits and moves bytes is in ``election.py`` and ``mesh.py``.
"""

from dataclasses import dataclass

from pyzkserver.wire.election import ServerState

__all__ = ["ServerState", "Vote"]


@dataclass(frozen=True, slots=True)
class Vote:
    """Whom a member proposes or follows (``Vote``).

    ``zxid`` and ``peer_epoch`` are the proposed leader's last zxid and epoch; ``election_epoch`` is the round
    of elections (the logical clock) that it was cast in.  ``version`` is that of the notification's format.
    """

    leader: int
    zxid: int
    election_epoch: int
    peer_epoch: int
    state: ServerState = ServerState.LOOKING
    version: int = 0

    def agrees_with(self, other: "Vote") -> bool:
        """``Vote.equals``: between members that have a leader, zxid and round may differ (ZOOKEEPER-1805), and so
        may the epoch that one of before ZOOKEEPER-1732 (version 0) tells."""
        if self.leader != other.leader:
            return False
        if ServerState.LOOKING in (self.state, other.state):
            return (self.zxid, self.election_epoch, self.peer_epoch) == (
                other.zxid,
                other.election_epoch,
                other.peer_epoch,
            )
        return (self.version > 0) is not (other.version > 0) or self.peer_epoch == other.peer_epoch
