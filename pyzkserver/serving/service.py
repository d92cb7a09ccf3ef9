"""What all connections of a server share: the replica, the configuration, the counters, and each other."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.replica import Replica
from pyzkserver.state.acl import Identity

from . import fourletter
from .statistics import ServerStatistics

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Service"]


class Service:
    """One server's client side.  ``connections`` are those that are open, in the order they came."""

    def __init__(self, config: Config, replica: Replica, host: Host) -> None:
        self.config = config
        self.replica = replica
        self.host = host
        self.statistics = ServerStatistics(host.elapsed_ms())
        self.connections: dict[Connection, None] = {}
        self.port = config.client_port
        """The port that clients come to; known when the server listens."""
        self.trace_mask = fourletter.DEFAULT_TRACE_MASK

    def is_word(self, word: bytes) -> bool:
        """Whether a connection's first bytes are a four-letter word."""
        return word in fourletter.WORDS

    def answer(self, word: bytes, argument: bytes, asker: "Connection") -> bytes:
        """The whole answer to a four-letter word."""
        return fourletter.answer(self, word, argument, asker)

    def is_authenticated(self, identities: Iterable[Identity]) -> bool:
        """Whether these suffice where authentication is enforced (``AuthenticationHelper``)."""
        if not self.config.enforce_auth_enabled:
            return True
        return any(scheme in self.config.enforce_auth_schemes for scheme, _ in identities)
