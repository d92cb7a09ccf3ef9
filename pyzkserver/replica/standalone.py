"""The trivial role: what a standalone server's log holds is decided."""

from collections.abc import Callable, Mapping

from .replica import Proposal, Replica

__all__ = ["Standalone"]


class Standalone:
    """Decides alone."""

    mode = "standalone"
    asks_elsewhere = False

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def gauges(self) -> Mapping[str, int]:
        """None."""
        return {}

    def submit(self, proposal: Proposal) -> None:
        """Judge it, log it; it is committed when the log has it safe."""
        replica = self._replica
        txn = replica.prepare(proposal)
        log = replica.log
        if log.immediate:
            log.append(txn)
            replica.commit(proposal)
        else:
            replica.propose(proposal)
            log.append(txn, proposal.digest)

    def durable(self, zxid: int) -> None:
        """Durable here is decided: commit, in order."""
        self._replica.commit_up_to(zxid)

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        """Every session that is open may be gone on with."""
        answer(self._replica.sessions.revive(session_id, timeout, self._replica.host.elapsed_ms()))
