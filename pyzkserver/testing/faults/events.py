"""What happens when a rule for watch events is hit."""

from typing import TYPE_CHECKING

from pyzkserver.testing.recording.exchange import Event

from .latches import Latches
from .rule import Rule
from .waits import Timer

if TYPE_CHECKING:
    from .connection import DisturbedConnection

__all__ = ["DelayEvent", "EventRule", "HoldEvent", "LoseEvent"]


class EventRule(Rule):
    """A rule that looks at watch events."""

    def event(self, connection: "DisturbedConnection", event: Event, frame: bytes) -> None:
        """One that is to be hit is about to be sent."""
        self.count(event)
        self.act(connection, event, frame)

    def act(self, connection: "DisturbedConnection", event: Event, frame: bytes) -> None:
        """Do it."""
        raise NotImplementedError


class LoseEvent(EventRule):
    """The event is not sent."""

    def act(self, connection: "DisturbedConnection", event: Event, frame: bytes) -> None:
        connection.give_up_on(event, "lost")


class DelayEvent(EventRule):
    """The event, and what follows it, is sent later."""

    seconds: float

    def act(self, connection: "DisturbedConnection", event: Event, frame: bytes) -> None:
        connection.send_late(frame, event, Timer(connection.service.host, self.seconds))


class HoldEvent(Latches, EventRule):
    """The event, and what follows it, is sent when it is released."""

    def act(self, connection: "DisturbedConnection", event: Event, frame: bytes) -> None:
        connection.send_late(frame, event, self._new_latch())
