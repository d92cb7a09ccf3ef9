"""The client side of a server of ``pyzkserver.testing``: its connections can be disturbed."""

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.replica import Replica
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.service import Service

from .book import RuleBook
from .connection import DisturbedConnection

__all__ = ["DisturbedService"]


class DisturbedService(Service):
    """A Service with a rule book."""

    connection_type = DisturbedConnection

    def __init__(self, config: Config, replica: Replica | None, host: Host, book: RuleBook) -> None:
        super().__init__(config, replica, host)
        self.book = book
        book.service = self

    @property
    def mode(self) -> str:
        """What srvr, stat and mntr say of its part in an ensemble."""
        return "read-only" if self.book.read_only else super().mode

    def answer(self, word: bytes, argument: bytes, asker: Connection) -> bytes:
        """The whole answer to a four-letter word."""
        if word == b"isro" and self.book.read_only:
            return b"ro"
        return super().answer(word, argument, asker)
