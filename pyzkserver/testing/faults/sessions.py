"""Ending sessions before their time."""

from pyzkserver.replica.replica import Origin, Proposal, Replica
from pyzkserver.wire.requests import OpCode

__all__ = ["expire_now"]


def expire_now(replica: Replica, session_id: int, origin: Origin | None = None) -> bool:
    """Let a session expire as if its time were up; False if there is none.  ``origin`` hears when it is done."""
    session = replica.sessions.by_id.get(session_id)
    if session is None or session.closing:
        return False
    replica.sessions.expire(session)
    replica.submit(Proposal(OpCode.CLOSE_SESSION, None, session_id, origin=origin))
    return True
