"""A connection whose input can be held back, read slowly, or lost."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyzkserver.serving.connection import Connection
from pyzkserver.testing.recording.exchange import Exchange

from .parcels import SendingLate
from .waits import Timer, Wait

if TYPE_CHECKING:
    from .conditions import Silence, SlowReads
    from .service import DisturbedService

__all__ = ["ReceivingLate"]

BEHIND_HIGH_WATER: Final = 1 << 20
"""Bytes that may gather behind a request which is held back; then the connection is not read from."""

_TRICKLE: Final = 0.01  # seconds between two portions of a slow read


class ReceivingLate(SendingLate):
    """While ``_gate`` is set, the request at hand waits for it, and what comes meanwhile gathers in ``_behind``."""

    def __init__(
        self, service: "DisturbedService", address: tuple[str, int], wake: Callable[[Connection], None]
    ) -> None:
        super().__init__(service, address, wake)
        self._gate: Wait | None = None
        self._held: Exchange | None = None
        self._behind = bytearray()
        self._full = False
        """``_behind`` is, and the connection is not read from for that reason."""
        self._trickle: Timer | None = None
        self._silence: Silence | None = None

    def receive(self, data: bytes) -> None:
        """Take bytes in, or lose them, or keep them behind what is held back."""
        if self._silence is not None:
            return
        slow = self._slow_rule()
        if slow is None and self._gate is None and not self._behind:
            self._take(data)
            return
        if slow is None and self.session is not None and not self.session.closing:
            # The server has it, and takes its time: the client is known to be alive.
            self.replica.sessions.touch(self.session, self.service.host.elapsed_ms())
        self._behind += data
        if len(self._behind) > BEHIND_HIGH_WATER and not self.paused:
            self.paused = self._full = True
        self._go_on()

    def _take(self, data: bytes) -> None:
        super().receive(data)
        if self._gate is not None and self._inbox:
            # Where it is, it would be looked at again at once.
            self._behind[:0] = self._inbox
            self._inbox = b""

    def _go_on(self) -> None:
        """Take in what gathered, if nothing is in the way any more."""
        if self._gate is not None or self.closing:
            return
        if self._slow_rule() is not None:
            if self._trickle is None and self._behind:
                self._trickle = Timer(self.service.host, _TRICKLE)
                self._trickle.begin(lambda: self._guarded(self._take_a_little))
            return
        self._read_again()
        data, self._behind = bytes(self._behind), bytearray()
        self._take(data)
        self._wake(self)

    def _take_a_little(self) -> None:
        self._trickle = None
        slow = self._slow_rule()
        if slow is not None and self._gate is None:
            portion = slow.portion(self, _TRICKLE)
            data = bytes(self._behind[:portion])
            del self._behind[:portion]
            if len(self._behind) < BEHIND_HIGH_WATER:
                self._read_again()
            self._take(data)
            self._wake(self)
        self._go_on()

    def _read_again(self) -> None:
        if self._full:
            self._full = self.paused = False

    def _slow_rule(self) -> "SlowReads | None":
        for rule in self.book.slow:
            if rule.slows(self):
                return rule
        return None

    # what rules do

    def hold_back(self, asked: Exchange, wait: Wait, go_on: Callable[[], None]) -> None:
        """Let the server go on with this request when ``wait`` is over; all that comes after it waits as well."""

        def over() -> None:
            self._gate = self._held = None
            if self.closing or self._silence is not None:
                self.give_up_on(asked, "dropped")
                return
            self._batch_time = 0  # it is judged now
            go_on()
            self._go_on()
            self._wake(self)

        self._gate, self._held = wait, asked
        wait.begin(lambda: self._guarded(over))

    def read_on(self) -> None:
        """What slowed it down is gone."""
        self._guarded(self._go_on)

    def fall_silent(self, silence: "Silence") -> None:
        """From now on nothing that the client sends arrives, and nothing is sent to it."""
        self._silence = silence
        self._behind.clear()

    def resound(self, silence: "Silence") -> None:
        """The silence is over.  What was lost in it is lost, so the connection is of no use any more."""
        if self._silence is silence:
            self.note("the connection is closed, for its silence is over")
            self.abort()

    # the end

    def session_ended(self) -> None:
        """The session expired, or another connection has it: through a silence no client hears of that."""
        if self.service.serving:
            self.note("the session ended here: it expired, or another connection has it now")
        else:
            self.note("nobody is served here any more: this member has no leader, or has stopped")
        if self._silence is not None and self.session is not None:
            # It keeps what it was: nothing comes in any more that could be taken for the session's.
            self.session.owner = None
        else:
            super().session_ended()

    def closed(self) -> None:
        for wait in (self._gate, self._trickle):
            if wait is not None:
                wait.cancel()
        if self._held is not None:
            self.give_up_on(self._held, "dropped")
        self._gate = self._held = self._trickle = None
        self._behind.clear()
        super().closed()
