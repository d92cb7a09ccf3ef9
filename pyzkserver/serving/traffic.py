"""The connections of the epoll plane: how they come, what each receives and sends, what it waits for, how they end.

Whose turn it is, and when, is said in ``epoll_plane.py``.  Nothing here waits.
"""

import logging
import select
import socket

import trio

from .admission import Admission, client_address, prepare_socket
from .links import FAREWELL_MS, Acceptor, Deadlines, Link, Partings
from .service import Service

__all__ = ["Traffic"]

logger = logging.getLogger("pyzkserver.port")

_RECEIVE = 65536

if hasattr(select, "epoll"):
    _IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Traffic:
    """All links of a plane, in its epoll."""

    def __init__(self, service: Service, admission: Admission, epoll: "select.epoll") -> None:
        self._service = service
        self._admission = admission
        self._epoll = epoll
        self.links: dict[int, Link] = {}
        """By descriptor."""
        self.again: list[Link] = []
        """Links whose connection holds back requests that can go on."""
        self.in_pass = False
        """The plane goes through the links that are ready, and then looks after those that are marked."""
        self.token: trio.lowlevel.TrioToken | None = None
        """Of the loop that the plane runs in, once it does."""
        self._marked: list[Link] = []
        self._flush_scheduled = False
        self._deadlines = Deadlines()
        self._partings = Partings(epoll)
        self._acceptor: Acceptor | None = None

    # accepting

    def listen_to(self, listener: socket.socket | None) -> None:
        """Accept clients there from now on, or nowhere, and no longer where it did; connections stay as they are.

        The socket that it listened to is for the caller to close.
        """
        if self._acceptor is not None:
            self._acceptor.retire()
        self._acceptor = None if listener is None else Acceptor(listener, self._epoll, self._welcome)

    def hear(self, descriptor: int) -> None:
        """What is ready is no connection: one that was, or the listener."""
        if not self._partings.hear(descriptor) and self._acceptor is not None:
            self._acceptor.accept()
            if self._partings and not self._acceptor.listening:
                self._partings.end_all()  # who wants to come in needs the descriptors more
                self._acceptor.resume()

    def _welcome(self, sock: socket.socket, peer: tuple[str, int]) -> None:
        service, address = self._service, client_address(peer)
        if not self._admission.admit(address[0]):
            service.statistics.connections_rejected += 1
            sock.close()
            return
        sock.setblocking(False)
        prepare_socket(sock, service.config)
        link = Link(sock, _IN)
        link.connection = service.new_connection(address, lambda connection: self._mark(link))
        grace = service.config.sessionless_cnxn_timeout_ms
        self._deadlines.set(link, service.host.elapsed_ms() + grace)
        self.links[link.fd] = link
        self._epoll.register(link.fd, _IN)

    # moving bytes

    def read(self, link: Link) -> None:
        """The socket has something, or its client closed it."""
        try:
            data = link.sock.recv(_RECEIVE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._service.statistics.connections_dropped += 1
            return self.close(link)
        return self._take(link, data)

    def go_on(self, link: Link) -> None:
        """With the requests that its connection held back."""
        self._take(link, b"")

    def _take(self, link: Link, data: bytes) -> None:
        # Marked, so that its own output does not put it on the list: it is looked after right here.
        link.marked = link.connection.attended = True
        try:
            link.connection.receive(data)
        except Exception:
            # A defect of this server: it costs the one who found it, and nobody else.
            logger.exception("closing the connection of %s after an internal error", link.connection.name)
            link.connection.abort()
        link.marked = link.connection.attended = False
        self._look_after(link)

    def drain(self, link: Link) -> None:
        """The socket can take more of what was left."""
        if link.unsent is not None:
            self._send(link, link.unsent)
        self._look_after(link)

    def _look_after(self, link: Link) -> None:
        """Send what there is, and decide what the link waits for next."""
        connection = link.connection
        if connection.outbox and link.unsent is None and not connection.aborted:
            outbox = connection.outbox
            data = outbox[0] if len(outbox) == 1 else b"".join(outbox)
            connection.outbox = []
            self._send(link, data)
        if connection.aborted:
            return self.close(link)
        if connection.closing and link.unsent is None:
            return self._part(link)
        if link.unsent is not None:
            interest = _OUT
            if connection.closing and link.deadline is None:
                self._deadlines.set(link, self._service.host.elapsed_ms() + FAREWELL_MS)
        elif connection.paused:
            interest = 0
        elif connection.backlog:
            interest = 0
            self.again.append(link)
        else:
            interest = _IN
        if interest != link.interest and self.links.get(link.fd) is link:
            link.interest = interest
            self._epoll.modify(link.fd, interest)
        return None

    def _send(self, link: Link, data: bytes | memoryview) -> None:
        try:
            sent = link.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            link.connection.abort()
            link.unsent = None
            return
        left = len(data) - sent
        link.unsent = memoryview(data)[sent:] if left else None
        link.connection.queued -= sent  # what came meanwhile waits in the outbox, and counts

    # those to look after beside the ones that are ready

    def _mark(self, link: Link) -> None:
        """Something happened to a connection: it has output, or may go on, or is to be closed."""
        if link.marked:
            return
        link.marked = True
        self._marked.append(link)
        if not self.in_pass and not self._flush_scheduled and self.token is not None:
            self._flush_scheduled = True
            self.token.run_sync_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_scheduled = False
        self.look_after_marked()
        if self.again:
            # The plane may be waiting: an event that is always ready gets it going.
            for link in self.again:
                if self.links.get(link.fd) is link:
                    link.interest = _OUT
                    self._epoll.modify(link.fd, _OUT)
            self.again.clear()

    def look_after_marked(self) -> None:
        """Those to whom something happened since the last time."""
        while self._marked:
            marked, self._marked = self._marked, []
            for link in marked:
                link.marked = False
                if self.links.get(link.fd) is link:
                    self._look_after(link)

    # closing

    def close(self, link: Link) -> None:
        """At once, whatever it was owed."""
        if self.links.get(link.fd) is link:
            self._let_go(link)
            self._epoll.unregister(link.fd)
            link.close()
            self._resume()

    def _part(self, link: Link) -> None:
        """All is sent; whether it was read is to be seen yet."""
        if self.links.get(link.fd) is link:
            self._let_go(link)
            self._partings.begin(link, self._service.host.elapsed_ms())
            self._resume()

    def _let_go(self, link: Link) -> None:
        del self.links[link.fd]
        self._deadlines.forget(link)
        connection = link.connection
        self._admission.leave(connection.address[0])
        connection.closed()

    def _resume(self) -> None:
        """Where file descriptors had run out, there may be one now."""
        if self._acceptor is not None:
            self._acceptor.resume()

    def tidy(self) -> None:
        """To be called each second: close those who never shook hands, and those who do not read their farewell."""
        now = self._service.host.elapsed_ms()
        for link in self._deadlines.overdue(now):
            self._service.statistics.sessionless_expired += 1
            logger.info("closing the connection of %s, which says nothing", link.connection.name)
            self.close(link)
        self._partings.end_overdue(now)
        self._resume()

    def close_all(self) -> None:
        """The plane ends.  The listener is for whoever opened it to close."""
        self._acceptor = None
        for link in list(self.links.values()):
            self.close(link)
        self._partings.end_all()

    def abandon(self) -> None:
        """In a forked child: the parent has them."""
        for link in self.links.values():
            link.sock.close()
        self.links.clear()
        self._partings.abandon()
        if self._acceptor is not None:
            self._acceptor.close()
