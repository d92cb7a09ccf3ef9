"""What the leader was asked and has not answered: SYNC and REVALIDATE.  Sans-IO.

It answers in the order of asking, so whoever asks takes a place in a line here, in one step with sending the
question.  Nobody leaves the line: who does not want to know any more gives an answer nowhere to go.
"""

from collections import deque
from collections.abc import Callable

from .ends import LeaderLost

__all__ = ["Questions"]

Answer = Callable[[bool], None]


class Questions:
    """``waiting`` counts those of both kinds.  It is bounded by whoever asks."""

    def __init__(self) -> None:
        self._syncs: deque[Callable[[], None]] = deque()
        self._sessions: dict[int, deque[Answer]] = {}
        self._resuming: dict[int, Answer] = {}
        """Of clients of this member: the last to ask for a session."""
        self.waiting = 0

    def sync(self, answer: Callable[[], None]) -> None:
        """SYNC was sent."""
        self._syncs.append(answer)
        self.waiting += 1

    def synced(self) -> None:
        """The leader answered the first of those.  Raises LeaderLost if there is none."""
        if not self._syncs:
            raise LeaderLost("the leader sent a SYNC that nobody asked for")
        self.waiting -= 1
        self._syncs.popleft()()

    def revalidate(self, session_id: int, answer: Answer) -> None:
        """REVALIDATE was sent for this session."""
        self._sessions.setdefault(session_id, deque()).append(answer)
        self.waiting += 1

    def resume(self, session_id: int, answer: Answer) -> None:
        """The same for a client of this member: of several for one session, the last may have it."""
        earlier = self._resuming.pop(session_id, None)
        if earlier is not None:
            earlier(False)
        self._resuming[session_id] = answer

        def answered(valid: bool) -> None:
            if self._resuming.get(session_id) is answer:
                del self._resuming[session_id]
                answer(valid)

        self.revalidate(session_id, answered)

    def revalidated(self, session_id: int, valid: bool) -> None:
        """The leader answered the first of those; one that nobody asked for is passed over."""
        line = self._sessions.get(session_id)
        if line is None:
            return
        answer = line.popleft()
        if not line:
            del self._sessions[session_id]
        self.waiting -= 1
        answer(valid)
