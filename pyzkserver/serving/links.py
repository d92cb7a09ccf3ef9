"""The sockets of the epoll plane: those of clients, how long they may be silent, and the one that listens.

Their bytes are moved in ``epoll_plane``.
"""

import logging
import select
import socket
from collections.abc import Callable

from .connection import Connection

__all__ = ["Acceptor", "Deadlines", "Link"]

logger = logging.getLogger("pyzkserver.port")

_ACCEPTS_PER_PASS = 64
_LAST_LOOK = 65536
_TRANSIENT_ACCEPT_ERRORS = frozenset({103, 104, 71, 4})  # ECONNABORTED, ECONNRESET, EPROTO, EINTR on Linux


class Link:
    """A connection's socket.

    While ``unsent`` holds bytes the link waits for writing and is not read from; while its connection is
    paused it waits for nothing.  ``interest`` is what epoll was last told.
    """

    __slots__ = ("connection", "deadline", "fd", "interest", "marked", "sock", "unsent")

    def __init__(self, sock: socket.socket, interest: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.connection: Connection
        self.unsent: memoryview | None = None
        self.interest = interest
        self.marked = False
        """It stands in the plane's list of those to look after."""
        self.deadline: int | None = None
        """When to close it for saying or reading nothing, where no session does that."""

    def close(self) -> None:
        """Close the socket.  Input that nobody read would make the kernel take back what was sent last."""
        try:
            if self.unsent is None:
                self.sock.shutdown(socket.SHUT_WR)
                self.sock.recv(_LAST_LOOK)
        except OSError:
            pass
        self.sock.close()


class Deadlines:
    """Links that have to do something in time: shake hands, or read their farewell.  Elapsed milliseconds."""

    def __init__(self) -> None:
        self._links: dict[Link, None] = {}

    def set(self, link: Link, deadline: int) -> None:
        """Close it then."""
        link.deadline = deadline
        self._links[link] = None

    def forget(self, link: Link) -> None:
        """It is closed."""
        self._links.pop(link, None)

    def overdue(self, now: int) -> list[Link]:
        """Those whose time is up.  Those that have a session meanwhile are held to nothing more here."""
        overdue = []
        for link in list(self._links):
            if link.connection.session is not None and not link.connection.closing:
                link.deadline = None
                del self._links[link]
            elif link.deadline is not None and now >= link.deadline:
                overdue.append(link)
        return overdue


class Acceptor:
    """The listening socket, non-blocking, in somebody's epoll.

    Where there are no file descriptors left it stops listening; ``resume`` when some may be free again.
    """

    def __init__(
        self,
        listener: socket.socket,
        epoll: "select.epoll",
        accepted: Callable[[socket.socket, tuple[str, int]], None],
    ) -> None:
        self._listener = listener
        self._epoll = epoll
        self._accepted = accepted
        self._listening = False
        self.resume()

    def resume(self) -> None:
        """Listen, if it does not."""
        if not self._listening:
            self._epoll.register(self._listener.fileno(), select.EPOLLIN)
            self._listening = True

    def close(self) -> None:
        """Close the listening socket, in this process."""
        self._listener.close()

    def accept(self) -> None:
        """Take in those who wait, or as many as a pass has time for."""
        for _ in range(_ACCEPTS_PER_PASS):
            try:
                sock, peer = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _TRANSIENT_ACCEPT_ERRORS:
                    continue
                # Out of file descriptors, most likely: those who wait, wait until some are free.
                logger.error("cannot accept connections for a moment: %s", error)
                self._epoll.unregister(self._listener.fileno())
                self._listening = False
                return
            self._accepted(sock, peer)
