"""The role of a member that is cut off: it serves reads to clients that allow it (``ReadOnlyZooKeeperServer``)."""

from collections.abc import Callable

from pyzkserver.errors import ErrorCode
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.transaction import Applied
from pyzkserver.wire.requests import OpCode

__all__ = ["ReadOnly"]

_CLOSE_SESSION = int(OpCode.CLOSE_SESSION)


class ReadOnly:
    """Refuses writes and syncs.  The sessions that it gives are known to nobody else, and end with the role."""

    mode = "read-only"
    asks_elsewhere = True
    read_only = True
    opens_local_sessions = True

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def submit(self, proposal: Proposal) -> None:
        """Closing a session is all that can be done."""
        if proposal.op == _CLOSE_SESSION:
            self._replica.sessions.remove(proposal.session_id)
            applied = Applied(_CLOSE_SESSION)
        else:
            applied = Applied(int(OpCode.ERROR), int(ErrorCode.NOT_READ_ONLY))
        if proposal.origin is not None:
            proposal.origin.committed(proposal, applied)

    def durable(self, zxid: int) -> None:
        """Nothing is logged."""

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        """Only a session that was given here can be gone on with; the handshake turns others away before."""
        sessions = self._replica.sessions
        session = sessions.by_id.get(session_id)
        known = session is not None and session.local
        answer(known and sessions.revive(session_id, timeout, self._replica.host.elapsed_ms()))

    def gauges(self) -> dict[str, int]:
        """Nothing beyond what every server tells."""
        return {}

    def reset_statistics(self) -> None:
        """There are none."""
