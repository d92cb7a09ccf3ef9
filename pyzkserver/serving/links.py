"""The sockets of the epoll plane: those of clients, how long they may be silent, and the one that listens.

Their bytes are moved in ``traffic.py``; when there are none to be moved any more, here is how they part.
"""

import logging
import select
import socket
from collections.abc import Callable

from .connection import Connection
from .fourletter_machine import max_descriptors

__all__ = ["FAREWELL_MS", "MOST_DISCARDED", "Acceptor", "Deadlines", "Link", "Partings", "most_parting"]

logger = logging.getLogger("pyzkserver.port")

_ACCEPTS_PER_PASS = 64
_LAST_LOOK = 65536
FAREWELL_MS = 10_000
"""How long a client has to take in the last that it was told."""
MOST_DISCARDED = 8 << 20
"""Bytes that a client may go on to send meanwhile: more than a kernel holds of what was under way already."""
MOST_PARTING = 1024
"""Sockets that are kept for that, so that nobody runs out of descriptors for it: the oldest is closed then."""
_TRANSIENT_ACCEPT_ERRORS = frozenset({103, 104, 71, 4})  # ECONNABORTED, ECONNRESET, EPROTO, EINTR on Linux


def most_parting() -> int:
    """How many that are here: the log and other members need descriptors as well, so an eighth of them at most."""
    descriptors = max_descriptors()
    return MOST_PARTING if descriptors is None else min(MOST_PARTING, descriptors // 8)


class Link:
    """A connection's socket.

    While ``unsent`` holds bytes the link waits for writing and is not read from; while its connection is
    paused it waits for nothing.  ``interest`` is what epoll was last told.
    """

    __slots__ = ("connection", "deadline", "discarded", "fd", "interest", "marked", "sock", "unsent")

    def __init__(self, sock: socket.socket, interest: int) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.connection: Connection
        self.unsent: memoryview | None = None
        self.interest = interest
        self.marked = False
        """It stands in the list of those to look after."""
        self.deadline: int | None = None
        """When to close it for saying or reading nothing, where no session does that."""
        self.discarded = 0
        """Bytes that came when nothing was to come any more."""

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


class Partings:
    """Sockets that have sent all they will, and wait for their clients to have read it.

    A socket that is closed with input that nobody read makes the kernel reset the connection, and whatever the
    client has not read by then is lost.  So only the sending half is closed, and what comes is thrown away until
    the client closes its half: for ``FAREWELL_MS``, ``MOST_DISCARDED`` bytes and ``most_parting`` sockets at most.
    No connection belongs to these sockets any more, and no limit counts them.
    """

    def __init__(self, epoll: "select.epoll") -> None:
        self._epoll = epoll
        self._links: dict[int, Link] = {}  # in the order of their deadlines
        self._most = most_parting()

    def __bool__(self) -> bool:
        return bool(self._links)

    def begin(self, link: Link, now: int) -> None:
        """Close the sending half; the link is still in the epoll.  ``now`` in elapsed milliseconds."""
        try:
            link.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client is gone
            self._end(link)
            return
        if link.interest != select.EPOLLIN:
            self._epoll.modify(link.fd, select.EPOLLIN)
        link.deadline = now + FAREWELL_MS
        if len(self._links) >= self._most:
            self._end(next(iter(self._links.values())))
        self._links[link.fd] = link

    def hear(self, fd: int) -> bool:
        """If it is one of these: something came, or the end.  Whether it is."""
        link = self._links.get(fd)
        if link is None:
            return False
        try:
            size = len(link.sock.recv(_LAST_LOOK))
        except BlockingIOError:
            return True
        except OSError:
            size = 0
        link.discarded += size
        if not size or link.discarded > MOST_DISCARDED:
            self._end(link)
        return True

    def end_overdue(self, now: int) -> None:
        """Close those whose time is up."""
        for link in list(self._links.values()):
            if link.deadline is not None and now >= link.deadline:
                self._end(link)

    def end_all(self) -> None:
        """Close all of them at once."""
        for link in list(self._links.values()):
            self._end(link)

    def _end(self, link: Link) -> None:
        self._links.pop(link.fd, None)
        self._epoll.unregister(link.fd)
        link.sock.close()

    def abandon(self) -> None:
        """In a forked child: the parent has them."""
        for link in self._links.values():
            link.sock.close()
        self._links.clear()


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
        self.listening = False
        """Whether it takes anybody in at the moment."""
        self.resume()

    def resume(self) -> None:
        """Listen, if it does not."""
        if not self.listening:
            self._epoll.register(self._listener.fileno(), select.EPOLLIN)
            self.listening = True

    def retire(self) -> None:
        """Listen no more; the socket may be closed then."""
        if self.listening:
            self._epoll.unregister(self._listener.fileno())
            self.listening = False

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
                self.listening = False
                return
            self._accepted(sock, peer)
