"""The data plane where there is epoll: one task serves all plain connections.

It waits for an epoll of its own, which Trio's can wait for in turn, and then takes all ready connections in
plain synchronous code: one ``recv`` each, all complete requests through the replica, one ``send`` each.
Trio's price is per wake-up of a task, and so it is paid once for all of them.
"""

import logging
import os
import select
import socket
from collections.abc import Callable

import trio

from .admission import Admission, client_address, prepare_socket
from .forking import left_to_the_parent
from .links import FAREWELL_MS, Acceptor, Deadlines, Link, Partings
from .service import Service
from .signals import Signal

__all__ = ["EpollPlane"]

logger = logging.getLogger("pyzkserver.port")

_RECEIVE = 65536
_EVENTS_PER_PASS = 512
# In seconds.  Where there is one processor, waiting for a client only keeps it from running.
_LONGEST_TURN = 0.002
_SOON = 0.0003
_FLUSH = 0.001
_PATIENCE = 0.0001 if (os.cpu_count() or 1) > 1 else 0.0

if hasattr(select, "epoll"):
    _IN, _OUT = select.EPOLLIN, select.EPOLLOUT
    _BROKEN = select.EPOLLHUP | select.EPOLLERR


class EpollPlane:
    """All plain connections of a server."""

    def __init__(self, service: Service, admission: Admission) -> None:
        self._service = service
        self._admission = admission
        self._epoll = select.epoll()
        self._links: dict[int, Link] = {}
        self._partings = Partings(self._epoll)
        self._marked: list[Link] = []
        self._again: list[Link] = []
        """Links whose connection holds back requests that can go on."""
        self._deadlines = Deadlines()
        self._in_pass = False
        self._flush_scheduled = False
        self._acceptor: Acceptor | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._after_pass: list[Callable[[], None]] = []
        self._signals: dict[int, tuple[Signal, Callable[[], None]]] = {}
        """By which other threads are heard of, and what to do then."""
        self.expecting: Callable[[], bool] = _never
        """Whether a signal is likely to come within a millisecond, so that it is quicker to wait for it here."""
        left_to_the_parent(self)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call this when the pass over the connections is through; or soon, where there is none."""
        if self._in_pass:
            self._after_pass.append(callback)
        else:
            assert self._token is not None
            self._token.run_sync_soon(callback)

    def signaller(self, callback: Callable[[], None]) -> Callable[[], None]:
        """A function for another thread to call; this task then calls back, in a pass."""
        signal = Signal()
        self._signals[signal.descriptor] = signal, callback
        self._epoll.register(signal.descriptor, _IN)
        return signal

    def listen_to(self, listener: socket.socket | None) -> None:
        """Accept clients there from now on, or nowhere, and no longer where it did; connections stay as they are.

        The socket that it listened to is for the caller to close.
        """
        if self._acceptor is not None:
            self._acceptor.retire()
        self._acceptor = None if listener is None else Acceptor(listener, self._epoll, self._welcome)

    async def run(self, listener: socket.socket | None) -> None:
        """Serve until cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        self.listen_to(listener)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._housekeeping)
                await self._serve()
        finally:
            self._close_all()

    async def _serve(self) -> None:
        wakeup = self._epoll.fileno()
        clock = self._service.host.seconds
        left_at = clock()
        while True:
            if self._again:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(wakeup)
            came_back = clock()
            left_at = self._turn(came_back, eager=came_back - left_at < _SOON)

    def _turn(self, started: float, *, eager: bool) -> float:
        """Serve as long as somebody is ready, but not so long that Trio's other tasks wait.  Returns when it ended.

        A client that sends its next request as soon as it has the last reply is back before this task could
        be asleep and awake again.  So if the last turn was a moment ago, look a little longer for the next.
        And while a flush is under way, wait for it here: to look again and again would hold up the thread that
        flushes, which needs the interpreter, too.
        """
        clock = self._service.host.seconds
        seen = now = started
        while now - started < _LONGEST_TURN:
            if self._pass():
                seen = now = clock()
            else:
                now = clock()
                if not eager or now - seen > _PATIENCE:
                    break
        return seen

    def _pass(self) -> bool:
        """Serve whoever is ready; False if nobody was."""
        patience = _FLUSH if self.expecting() and not self._again else 0
        ready = self._epoll.poll(patience, _EVENTS_PER_PASS)
        if not ready and not self._again:
            return False
        self._in_pass = True
        links = self._links
        again, self._again = self._again, []
        for link in again:
            if links.get(link.fd) is link:
                self._continue(link)
        for fd, events in ready:
            found = links.get(fd)
            if found is None:
                self._hear(fd)
            elif events & _OUT:
                self._drain(found)
            elif events & _BROKEN and not events & _IN:
                self._close(found)
            else:
                self._read(found)
        self._flush_marked()
        if self._after_pass:
            for callback in self._after_pass:
                callback()
            self._after_pass.clear()
            self._flush_marked()  # a log that is durable at once has answered meanwhile
        self._in_pass = False
        return True

    def _hear(self, descriptor: int) -> None:
        """What is ready is no connection: a signal, one that was, or the listener."""
        if descriptor in self._signals:
            signal, callback = self._signals[descriptor]
            signal.take()
            callback()
        elif not self._partings.hear(descriptor) and self._acceptor is not None:
            self._acceptor.accept()
            if self._partings and not self._acceptor.listening:
                self._partings.end_all()  # who wants to come in needs the descriptors more
                self._acceptor.resume()

    # accepting

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
        self._links[link.fd] = link
        self._epoll.register(link.fd, _IN)

    # moving bytes

    def _read(self, link: Link) -> None:
        try:
            data = link.sock.recv(_RECEIVE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._service.statistics.connections_dropped += 1
            return self._close(link)
        return self._take(link, data)

    def _continue(self, link: Link) -> None:
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

    def _drain(self, link: Link) -> None:
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
            return self._close(link)
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
            self._again.append(link)
        else:
            interest = _IN
        if interest != link.interest and self._links.get(link.fd) is link:
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
        if not self._in_pass and not self._flush_scheduled and self._token is not None:
            self._flush_scheduled = True
            self._token.run_sync_soon(self._flush_later)

    def _flush_later(self) -> None:
        self._flush_scheduled = False
        self._flush_marked()
        if self._again:
            # The serving task may be waiting: an event that is always ready gets it going.
            for link in self._again:
                if self._links.get(link.fd) is link:
                    link.interest = _OUT
                    self._epoll.modify(link.fd, _OUT)
            self._again.clear()

    def _flush_marked(self) -> None:
        while self._marked:
            marked, self._marked = self._marked, []
            for link in marked:
                link.marked = False
                if self._links.get(link.fd) is link:
                    self._look_after(link)

    # closing

    def _close(self, link: Link) -> None:
        if self._links.get(link.fd) is link:
            self._let_go(link)
            self._epoll.unregister(link.fd)
            link.close()
            self._resume()

    def _part(self, link: Link) -> None:
        """All is sent; whether it was read is to be seen yet."""
        if self._links.get(link.fd) is link:
            self._let_go(link)
            self._partings.begin(link, self._service.host.elapsed_ms())
            self._resume()

    def _let_go(self, link: Link) -> None:
        del self._links[link.fd]
        self._deadlines.forget(link)
        connection = link.connection
        self._admission.leave(connection.address[0])
        connection.closed()

    def _resume(self) -> None:
        """Where file descriptors had run out, there may be one now."""
        if self._acceptor is not None:
            self._acceptor.resume()

    def _close_all(self) -> None:
        self._acceptor = None
        for link in list(self._links.values()):
            self._close(link)
        self._partings.end_all()
        for signal, _ in self._signals.values():
            signal.close()
        self._signals.clear()
        self._epoll.close()

    def abandon(self) -> None:
        """In a forked child: everything here is the parent's, and so is the thread that would look after it."""
        for link in self._links.values():
            link.sock.close()
        self._links.clear()
        self._partings.abandon()
        if self._acceptor is not None:
            self._acceptor.close()
        for descriptor in self._signals:
            os.close(descriptor)  # whatever lock another thread held is held for ever
        self._signals.clear()
        self._epoll.close()

    async def _housekeeping(self) -> None:
        """Close those who never shook hands, and those who do not read their farewell."""
        host = self._service.host
        while True:
            await host.sleep(1)
            now = host.elapsed_ms()
            for link in self._deadlines.overdue(now):
                self._service.statistics.sessionless_expired += 1
                logger.info("closing the connection of %s, which says nothing", link.connection.name)
                self._close(link)
            self._partings.end_overdue(now)
            self._resume()


def _never() -> bool:
    return False
