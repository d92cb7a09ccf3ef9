"""Rules about connections as a whole, and about the state that the server is in."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pyzkserver.errors import ErrorCode
from pyzkserver.testing.operations import HANDSHAKES, RECONNECT
from pyzkserver.testing.recording.exchange import Exchange
from pyzkserver.wire.records import ConnectRequest

from .effects import RequestRule
from .rule import Rule
from .sessions import expire_now

if TYPE_CHECKING:
    from .connection import DisturbedConnection
    from .gates import ReceivingLate

__all__ = ["ReadOnly", "Refuse", "Silence", "SlowReads"]


class Silence(RequestRule):
    """The client's connection goes on, and nothing comes through it any more, in either direction.

    With ``from_the_start`` it does not wait for a request: all connections of the clients that are meant fall
    silent, those that are there and those that come.
    """

    from_the_start = False

    def before(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> None:
        connection.give_up_on(asked, "dropped")
        connection.fall_silent(self)

    def after(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        connection.give_up_on(asked, "lost")
        connection.fall_silent(self)
        return None

    def meets(self, connection: "DisturbedConnection") -> None:
        """A connection came, or was there already."""
        clients = self.target.clients
        if self.from_the_start and (clients is None or connection.session_id in clients):
            self.count(connection.note(f"falls silent (fault: {self.description})"))
            connection.fall_silent(self)

    def put_in_force(self, connections: "list[DisturbedConnection]") -> None:
        for connection in connections:
            self.meets(connection)

    def taken_out(self, connections: "list[DisturbedConnection]") -> None:
        for connection in connections:
            connection.resound(self)


class ReadOnly(RequestRule):
    """The server has lost its quorum and serves reads only, as ``ReadOnlyZooKeeperServer`` does.

    Clients that did not ask for a read-only server are let go of, and so are sessions that were made before;
    a session that is made now ends with it.
    """

    def request(self, connection: "DisturbedConnection", asked: Exchange, go_on: Callable[[], None]) -> bool:
        request = asked.request
        if isinstance(request, ConnectRequest) and asked.op in HANDSHAKES:
            if request.read_only and (asked.op != RECONNECT or asked.session_id in self.sessions):
                asked.fates.append(self)
                return True
            self.count(asked)
            connection.drop(asked)
            return False
        self.count(asked)
        connection.refuse_request(asked, ErrorCode.NOT_READ_ONLY)
        return False

    def reply(self, connection: "DisturbedConnection", asked: Exchange, frame: bytes) -> bytes | None:
        self.sessions[asked.session_id] = None
        return frame

    def put_in_force(self, connections: "list[DisturbedConnection]") -> None:
        self.sessions: dict[int, None] = {}
        for connection in connections:
            connection.drop()

    def taken_out(self, connections: "list[DisturbedConnection]") -> None:
        for connection in connections:
            connection.drop()
        if self._book is not None and self._book.service is not None:
            for session_id in self.sessions:
                expire_now(self._book.service.replica, session_id)


class Refuse(Rule):
    """New connections are closed as soon as they are accepted."""

    def refuses(self, connection: "DisturbedConnection") -> bool:
        """Whether this one is."""
        if self.limits.reason_to_pass() is not None:
            return False
        self.count(connection.note(f"is refused (fault: {self.description})"))
        return True


class SlowReads(Rule):
    """The server reads what the client sends at so many bytes a second."""

    bytes_per_second: float

    def put_in_force(self, connections: "list[DisturbedConnection]") -> None:
        self._known: WeakKeyDictionary[ReceivingLate, float] = WeakKeyDictionary()

    def slows(self, connection: "ReceivingLate") -> bool:
        """Whether it reads this one slowly."""
        clients = self.target.clients
        if clients is not None and connection.session_id not in clients:
            return False
        if connection not in self._known:
            self._known[connection] = 0.0
            self.count(connection.note(f"is read slowly (fault: {self.description})"))
        return True

    def portion(self, connection: "ReceivingLate", seconds: float) -> int:
        """How many bytes to read after so long a wait: whole ones, and the rest is kept for the next time."""
        due = self._known[connection] + self.bytes_per_second * seconds
        self._known[connection] = due - int(due)
        return int(due)

    def taken_out(self, connections: "list[DisturbedConnection]") -> None:
        self._known.clear()
        for connection in connections:
            connection.read_on()
