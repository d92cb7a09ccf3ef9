"""The data plane where there is epoll: one task serves all plain connections.

It waits for an epoll of its own, which Trio's can wait for in turn, and then takes all ready connections in
plain synchronous code: one ``recv`` each, all complete requests through the replica, one ``send`` each.
Trio's price is per wake-up of a task, and so it is paid once for all of them.

Here is who is served when, and for how long at a time.  What becomes of a connection then is said in ``traffic.py``.
"""

import os
import select
import socket
from collections.abc import Callable
from math import inf

import trio

from .admission import Admission
from .forking import left_to_the_parent
from .links import Link
from .service import Service
from .signals import Signal
from .traffic import Traffic

__all__ = ["EpollPlane"]

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
        self._host = service.host
        self._epoll = select.epoll()
        self._traffic = Traffic(service, admission, self._epoll)
        self._after_pass: list[Callable[[], None]] = []
        self._signals: dict[int, tuple[Signal, Callable[[], None]]] = {}
        """By which other threads are heard of, and what to do then."""
        self.expecting: Callable[[], bool] = _never
        """Whether a signal is likely to come within a millisecond, so that it is quicker to wait for it here."""
        left_to_the_parent(self)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call this when the pass over the connections is through; or soon, where there is none."""
        if self._traffic.in_pass:
            self._after_pass.append(callback)
        else:
            assert self._traffic.token is not None
            self._traffic.token.run_sync_soon(callback)

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
        self._traffic.listen_to(listener)

    async def run(self, listener: socket.socket | None) -> None:
        """Serve until cancelled."""
        self._traffic.token = trio.lowlevel.current_trio_token()
        self.listen_to(listener)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._housekeeping)
                await self._serve()
        finally:
            self._close_all()

    async def _serve(self) -> None:
        wakeup = self._epoll.fileno()
        clock = self._host.seconds
        left_at = clock()
        while True:
            if self._traffic.again:
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
        clock = self._host.seconds
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
        traffic = self._traffic
        patience = _FLUSH if self.expecting() and not traffic.again else 0
        ready = self._epoll.poll(patience, _EVENTS_PER_PASS)
        if not ready and not traffic.again:
            return False
        traffic.in_pass = True
        links = traffic.links
        again, traffic.again = traffic.again, []
        if len(again) > 1:
            again.sort(key=_waits_since)
        for link in again:
            if links.get(link.fd) is link:
                traffic.go_on(link)
        for fd, events in ready:
            found = links.get(fd)
            if found is None:
                self._hear(fd)
            elif events & _OUT:
                traffic.drain(found)
            elif events & _BROKEN and not events & _IN:
                traffic.close(found)
            else:
                traffic.read(found)
        traffic.look_after_marked()
        if self._after_pass:
            for callback in self._after_pass:
                callback()
            self._after_pass.clear()
            traffic.look_after_marked()  # a log that is durable at once has answered meanwhile
        traffic.in_pass = False
        return True

    def _hear(self, descriptor: int) -> None:
        """What is ready is no connection: a signal, perhaps."""
        if descriptor in self._signals:
            signal, callback = self._signals[descriptor]
            signal.take()
            callback()
        else:
            self._traffic.hear(descriptor)

    async def _housekeeping(self) -> None:
        while True:
            await self._host.sleep(1)
            self._traffic.tidy()

    def _close_all(self) -> None:
        self._traffic.close_all()
        for signal, _ in self._signals.values():
            signal.close()
        self._signals.clear()
        self._epoll.close()

    def abandon(self) -> None:
        """In a forked child: everything here is the parent's, and so is the thread that would look after it."""
        self._traffic.abandon()
        for descriptor in self._signals:
            os.close(descriptor)  # whatever lock another thread held is held for ever
        self._signals.clear()
        self._epoll.close()


def _waits_since(link: Link) -> float:
    """Who has waited longest for room (``under_way``) comes first, and who has not waited last."""
    return link.connection.ticket or inf


def _never() -> bool:
    return False
