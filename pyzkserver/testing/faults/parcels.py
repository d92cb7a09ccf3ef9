"""A connection whose replies and events can leave late, in pieces, or not at all; their order stays."""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyzkserver.replica.replica import Proposal
from pyzkserver.serving.connection import Connection, ProtocolViolation
from pyzkserver.state.transaction import Applied
from pyzkserver.state.watches import TooManyWatches
from pyzkserver.testing.recording.exchange import Event, Exchange, Happening
from pyzkserver.testing.recording.log import Recording

from .waits import Timer, Wait

if TYPE_CHECKING:
    from .service import DisturbedService

__all__ = ["SendingLate"]

logger = logging.getLogger("pyzkserver.faults")


class _Parcel:
    """Something that is to leave after ``wait``, and not before what stands in front of it."""

    __slots__ = ("entry", "frame", "over", "wait")

    def __init__(self, frame: bytes, entry: Exchange | Event | None, wait: Wait | None) -> None:
        self.frame = frame
        self.entry = entry
        """Whose end this is, and who is told when it leaves; None for all pieces but the last."""
        self.wait = wait
        self.over = wait is None


class SendingLate(Connection):
    """``_parcels`` is what cannot leave yet.  It counts as queued, so the bounds of the outbox hold for it."""

    def __init__(
        self, service: "DisturbedService", address: tuple[str, int], wake: Callable[[Connection], None]
    ) -> None:
        super().__init__(service, address, wake)
        self.book = service.book
        self.recording: Recording = service.book.recording
        self.recording.connections += 1
        self.number = self.recording.connections
        """Which of the server's connections it is, counted from 1."""
        self._parcels: deque[_Parcel] = deque()

    def send(self, frame: bytes, entry: Exchange | Event | None) -> None:
        """Send this now, or when all that is to leave before it has left."""
        if self._parcels:
            self.send_late(frame, entry, None)
        else:
            super()._append(frame)
            self._left(entry)

    def send_late(self, frame: bytes, entry: Exchange | Event | None, wait: Wait | None) -> None:
        """Send this when ``wait`` is over, and everything after it later."""
        parcel = _Parcel(frame, entry, wait)
        self._parcels.append(parcel)
        self.queued += len(frame)
        if entry is not None:
            entry.outcome = "waiting"
        if wait is not None:

            def over() -> None:
                parcel.over = True
                self.deliver()

            wait.begin(lambda: self._guarded(over))

    def send_in_pieces(self, frame: bytes, entry: Exchange, size: int, interval: float) -> None:
        """Send this ``size`` bytes at a time, each ``interval`` seconds after the one before."""
        pieces = [frame[at : at + size] for at in range(0, len(frame), size)]
        for number, piece in enumerate(pieces):
            wait = Timer(self.service.host, interval * number) if number else None
            self.send_late(piece, entry if number == len(pieces) - 1 else None, wait)
        self.deliver()

    def deliver(self) -> None:
        """Send the parcels that may leave."""
        while self._parcels and self._parcels[0].over:
            parcel = self._parcels.popleft()
            self.queued -= len(parcel.frame)
            super()._append(parcel.frame)
            self._left(parcel.entry)

    def _left(self, entry: Exchange | Event | None) -> None:
        if entry is not None:
            entry.left(self.recording.now())
            self.recording.changed()

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        """A write is done.  The answer to a close is sent at once: the connection does not wait for parcels."""
        super().committed(proposal, applied)
        if self.closing and self._parcels and not self.aborted:
            for parcel in self._parcels:
                parcel.over = True
            self.deliver()

    def give_up_on(self, entry: Any, outcome: str) -> None:
        """Nothing more becomes of this request or event."""
        entry.outcome = outcome
        self.recording.changed()

    def note(self, text: str) -> Happening:
        """Something happened that the transcript should tell."""
        happening = Happening(text, self.session_id, self.number, self.recording.now())
        if self.recording.on:
            self.recording.add(happening)
        return happening

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do it outside a pass of the data plane, with what a plane does for whatever goes wrong."""
        try:
            action()
        except ProtocolViolation as reason:
            self._give_up(str(reason))
        except TooManyWatches as reason:
            self._too_many_watches(reason)
        except Exception:
            logger.exception("closing the connection of %s after an internal error", self.name)
            self.abort()

    def closed(self) -> None:
        for parcel in self._parcels:
            if parcel.wait is not None:
                parcel.wait.cancel()
            if parcel.entry is not None:
                self.give_up_on(parcel.entry, "lost")
        self._parcels.clear()
        super().closed()
