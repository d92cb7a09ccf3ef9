"""The sessions as a leader sees them: it decides whose time is up, and by which member each is heard of."""

from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.wire.txns import CreateSessionTxn

from .audience import Link

__all__ = ["take_over", "touch", "track"]


def track(replica: Replica, proposal: Proposal) -> None:
    """A new session is known as soon as it is proposed, for its client's next requests may follow."""
    if proposal.session_id not in replica.sessions.by_id and type(proposal.request) is CreateSessionTxn:
        timeout = proposal.request.time_out
        session = replica.sessions.track(proposal.session_id, timeout, replica.host.elapsed_ms())
        session.holder = proposal.holder


def touch(replica: Replica, session_id: int, timeout: int, now: int) -> None:
    """A learner's client was heard of."""
    session = replica.sessions.by_id.get(session_id)
    if session is not None and not session.closing:
        session.timeout = timeout
        replica.sessions.touch(session, now)


def take_over(replica: Replica, session_id: int, timeout: int, holder: Link | None) -> bool:
    """A client wants to go on with its session at a learner, or here: whether it may.

    One that only this member knows stays here (``LeaderZooKeeperServer.checkIfValidGlobalSession``): the learner
    would take it for one that all know, and keep it, in its snapshots too, when nobody else does.
    """
    known = replica.sessions.by_id.get(session_id)
    if holder is not None and known is not None and known.local:
        return False
    if not replica.sessions.revive(session_id, timeout, replica.host.elapsed_ms()):
        return False
    session = replica.sessions.by_id[session_id]
    session.holder = holder
    if holder is not None and session.owner is not None:
        session.owner.session_ended()
    return True
