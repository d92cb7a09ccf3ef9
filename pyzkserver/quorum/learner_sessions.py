"""Sessions as a learner knows them: whose time is up is decided by the leader."""

from pyzkserver.state.sessions import Session, SessionTable

__all__ = ["HERE", "LearnerSessions"]

HERE = object()
"""The holder of a session that came back to this member, where others come by observers of its (``Relaying``)."""


class LearnerSessions(SessionTable):
    """Sessions as a learner knows them: the leader decides whose time is up, and hears here who was heard of."""

    def __init__(self, tick: int, next_id: int) -> None:
        super().__init__(tick, next_id)
        self.touched: dict[int, int] = {}
        """Sessions that were heard of since the leader last asked, with their timeouts.  Bounded by ``by_id``."""

    def touch(self, session: Session, now: int) -> None:
        """The client was heard of.  Whether a local session's time is up is decided here."""
        if session.local:
            super().touch(session, now)
        else:
            self.touched[session.id] = session.timeout

    def touch_elsewhere(self, session: Session, timeout: int) -> None:
        """The client of a session that is known to all was heard of by an observer that learns from this member."""
        if not session.local:
            self.touched[session.id] = timeout

    def make_global(self, session: Session) -> None:
        """From now on the leader decides about it."""
        super().make_global(session)
        self.strike(session)
        self.touched[session.id] = session.timeout

    def take_touched(self) -> list[tuple[int, int]]:
        """What the leader is told, once."""
        for session in self.kept_waiting():
            self.touch_elsewhere(session, session.timeout)
        touched, self.touched = self.touched, {}
        return list(touched.items())

    def remove(self, session_id: int) -> Session | None:
        """Forget a session."""
        self.touched.pop(session_id, None)
        return super().remove(session_id)
