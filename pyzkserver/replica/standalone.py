"""The trivial role: what a standalone server's log holds is decided."""

from collections import deque
from collections.abc import Callable, Mapping

from pyzkserver.state.digest import LOG_INTERVAL

from .replica import Proposal, Replica

__all__ = ["Standalone"]


class Standalone:
    """Decides alone.

    The tree's digest is counted for the last transaction of each flush, and for every 128th.  (Apache's server
    writes it with every one; it reads logs in which it is missing here and there, and so does ours.)
    """

    mode = "standalone"
    asks_elsewhere = read_only = opens_local_sessions = False
    decides_alone = True

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._digests: deque[tuple[int, int]] = deque()
        """(zxid, digest) of the last transactions of the flushes under way."""
        replica.log.digest = self._count

    def gauges(self) -> Mapping[str, int]:
        """None."""
        return {}

    def reset_statistics(self) -> None:
        """There are none."""

    def submit(self, proposal: Proposal) -> None:
        """Judge it, log it; it is committed when the log has it safe."""
        replica = self._replica
        txn = replica.prepare(proposal)
        log = replica.log
        if log.immediate:
            log.append(txn)
            replica.commit(proposal)
        else:
            replica.propose(proposal, count=txn.zxid % LOG_INTERVAL == 0)
            log.append(txn, proposal.digest)

    def _count(self) -> int | None:
        digest = self._replica.pending.count()
        if digest is not None:
            self._digests.append((self._replica.last_proposed, digest))
        return digest

    def durable(self, zxid: int) -> None:
        """Durable here is decided: commit, in order."""
        replica, digests = self._replica, self._digests
        replica.commit_up_to(zxid)
        while digests and digests[0][0] <= zxid:
            replica.tree.digest.carry(digests.popleft()[1])

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        """Every session that is open may be gone on with."""
        answer(self._replica.sessions.revive(session_id, timeout, self._replica.host.elapsed_ms()))
