"""What all connections of a server share: the replica, the configuration, the counters, and each other."""

from collections.abc import Callable, Iterable

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.replica import Replica
from pyzkserver.state.acl import Identity
from pyzkserver.state.sessions import Session

from . import fourletter
from .connection import Connection
from .statistics import ServerStatistics
from .under_way import UnderWay

__all__ = ["Service"]


class Service:
    """One server's client side.  ``connections`` are those that are open, in the order they came.

    What it serves may come and go, as a member's does whose ensemble has no leader.  Without a replica only
    those four-letter words are answered that need none, and handshakes by closing the connection.
    """

    connection_type: type[Connection] = Connection
    """What new connections are made of.  For tests that watch or disturb them."""

    def __init__(self, config: Config, replica: Replica | None, host: Host) -> None:
        self.config = config
        self.host = host
        self.statistics = ServerStatistics(host.elapsed_ms())
        self.connections: dict[Connection, None] = {}
        self.address, self.port = config.client_port_address, config.client_port
        """Where clients come to; the port is known when the server listens."""
        self.trace_mask = fourletter.DEFAULT_TRACE_MASK
        self.under_way = UnderWay()
        """The writes of the connections of now."""
        self._replica = replica
        if replica is not None:
            replica.sessions.kept_waiting = self._kept_waiting

    # what is served

    @property
    def serving(self) -> bool:
        """Whether there is a replica to serve."""
        return self._replica is not None

    @property
    def replica(self) -> Replica:
        """The one that is served.  Raises RuntimeError while there is none."""
        if self._replica is None:
            raise RuntimeError("nothing is served at the moment")
        return self._replica

    @property
    def mode(self) -> str:
        """What the server is in its ensemble, in the words of srvr."""
        return self.replica.role.mode

    def start_serving(self, replica: Replica) -> None:
        """From now on connections that come are served by this replica."""
        assert self._replica is None, "what was served before has not been stopped"
        self._replica = replica
        self.under_way = UnderWay()
        replica.sessions.kept_waiting = self._kept_waiting

    def stop_serving(self) -> None:
        """Serve nothing, and let go of every client at once; their sessions stay."""
        self._replica = None
        for connection in list(self.connections):
            connection.session_ended()

    # connections

    def _kept_waiting(self) -> Iterable[Session]:
        """The sessions of those that are not read from before something of theirs is done."""
        return [each.session for each in self.connections if each.paused and each.session is not None]

    def new_connection(self, address: tuple[str, int], wake: Callable[[Connection], None]) -> Connection:
        """One that was accepted; it stands in ``connections`` until it is ``closed``."""
        connection = self.connection_type(self, address, wake)
        self.connections[connection] = None
        return connection

    def is_word(self, word: bytes) -> bool:
        """Whether a connection's first bytes are a four-letter word."""
        return word in fourletter.WORDS

    def awaits_argument(self, word: bytes) -> bool:
        """Whether eight more bytes belong to this word: a refused one is not waited for."""
        return word == b"stmk" and "stmk" in self.config.four_letter_words

    def answer(self, word: bytes, argument: bytes, asker: Connection) -> bytes:
        """The whole answer to a four-letter word."""
        return fourletter.answer(self, word, argument, asker)

    def is_authenticated(self, identities: Iterable[Identity]) -> bool:
        """Whether these suffice where authentication is enforced (``AuthenticationHelper``)."""
        if not self.config.enforce_auth_enabled:
            return True
        return any(scheme in self.config.enforce_auth_schemes for scheme, _ in identities)
