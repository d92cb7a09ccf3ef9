"""The data plane where there is no epoll, and for streams that are no plain sockets: a task per connection.

Slower than ``epoll_plane`` and the same to clients: both drive ``connection.py``.
"""

import logging
import socket

import trio

from .admission import Admission, client_address, prepare_socket
from .connection import OUTBOX_HIGH_WATER, Connection
from .links import FAREWELL_MS, MOST_DISCARDED, most_parting
from .service import Service

__all__ = ["TaskPlane"]

logger = logging.getLogger("pyzkserver.port")

_RECEIVE = 65536


class TaskPlane:
    """Connections by tasks: one reads, one writes."""

    def __init__(self, service: Service, admission: Admission) -> None:
        self._service = service
        self._admission = admission
        self._parting = 0
        self._most_parting = most_parting()
        self._listener: socket.socket | None = None
        self._accepting = trio.CancelScope()

    def listen_to(self, listener: socket.socket | None) -> None:
        """Accept clients there from now on, or nowhere, and no longer where it did; connections stay as they are.

        The socket that it listened to is for the caller to close.
        """
        if self._listener is not None:
            trio.lowlevel.notify_closing(self._listener)
        self._listener = listener
        self._accepting.cancel()

    async def run(self, listener: socket.socket | None) -> None:
        """Serve until cancelled."""
        self._listener = listener
        async with trio.open_nursery() as nursery:
            while True:
                with trio.CancelScope() as self._accepting:
                    await self._accept(nursery)

    async def _accept(self, nursery: trio.Nursery) -> None:
        if self._listener is None:
            await trio.sleep_forever()
        listening = trio.socket.from_stdlib_socket(self._listener)
        while True:
            try:
                accepted, peer = await listening.accept()
            except trio.ClosedResourceError:
                await trio.sleep_forever()  # it has moved, and this is about to be cancelled
            except OSError as error:
                logger.error("cannot accept connections for a moment: %s", error)
                await self._service.host.sleep(0.1)
                continue
            address = client_address(peer)
            if not self._admission.admit(address[0]):
                self._service.statistics.connections_rejected += 1
                accepted.close()
                continue
            prepare_socket(accepted, self._service.config)
            nursery.start_soon(self.serve_stream, trio.SocketStream(accepted), address)

    async def serve_stream(self, stream: trio.abc.Stream, address: tuple[str, int]) -> None:
        """One admitted connection, from its first byte to its last."""
        wakeup = _Wakeup()
        connection = self._service.new_connection(address, lambda connection: wakeup.set())
        async with stream:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, connection, stream, wakeup, nursery.cancel_scope)
                    await self._read(connection, stream, wakeup)
                    # The client says no more; what it is still owed is sent as long as the writer lives.
                    wakeup.set()
                politely = not connection.aborted
            finally:
                self._admission.leave(address[0])
                connection.closed()
            if politely and isinstance(stream, trio.SocketStream) and self._parting < self._most_parting:
                self._parting += 1
                try:
                    await _part(stream)
                finally:
                    self._parting -= 1

    async def _read(self, connection: Connection, stream: trio.abc.Stream, wakeup: "_Wakeup") -> None:
        grace = self._service.config.sessionless_cnxn_timeout_ms / 1000
        with trio.move_on_after(grace) as first:
            while not connection.closing:
                try:
                    data = bytes(await stream.receive_some(_RECEIVE))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                if not data:
                    self._service.statistics.connections_dropped += 1
                    connection.abort()
                    return
                self._take(connection, data)
                wakeup.set()
                if connection.session is not None:
                    first.deadline = float("inf")
                while connection.paused or connection.backlog or connection.queued > OUTBOX_HIGH_WATER:
                    await wakeup.passed()
                    if connection.closing:
                        break
                    if not connection.paused and connection.queued <= OUTBOX_HIGH_WATER:
                        self._take(connection, b"")
                        wakeup.set()
        if first.cancelled_caught:
            self._service.statistics.sessionless_expired += 1
            connection.abort()

    def _take(self, connection: Connection, data: bytes) -> None:
        try:
            connection.receive(data)
        except Exception:
            # A defect of this server: it costs the one who found it, and nobody else.
            logger.exception("closing the connection of %s after an internal error", connection.name)
            connection.abort()

    async def _write(
        self, connection: Connection, stream: trio.abc.Stream, wakeup: "_Wakeup", scope: trio.CancelScope
    ) -> None:
        while not connection.aborted:
            if connection.outbox:
                data = b"".join(connection.outbox)
                connection.outbox = []
                await _send_or_abort(stream, data, connection, wakeup)
                connection.queued = sum(map(len, connection.outbox))
                wakeup.pass_on()
            elif connection.closing:
                break
            else:
                wakeup.pass_on()
                await wakeup.wait()
        scope.cancel()


async def _send_or_abort(
    stream: trio.abc.Stream, data: bytes, connection: Connection, wakeup: "_Wakeup"
) -> None:
    """Send it all, unless the connection is aborted meanwhile; abort one that does not read its farewell."""
    sent = False
    async with trio.open_nursery() as nursery:
        scope = nursery.cancel_scope

        async def watch() -> None:
            while not connection.aborted:
                if connection.closing and scope.deadline == float("inf"):
                    scope.deadline = trio.current_time() + FAREWELL_MS / 1000
                await wakeup.wait()
            scope.cancel()

        nursery.start_soon(watch)
        try:
            await stream.send_all(data)
            sent = True
        except trio.BrokenResourceError:
            pass
        scope.cancel()
    if not sent:
        connection.abort()


async def _part(stream: trio.SocketStream) -> None:
    """Close the sending half, and throw away what comes: as ``links.Partings`` does, and for its reasons."""
    discarded = 0
    with trio.move_on_after(FAREWELL_MS / 1000):
        try:
            await stream.send_eof()
            while discarded <= MOST_DISCARDED and (data := await stream.receive_some(_RECEIVE)):
                discarded += len(data)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass


class _Wakeup:
    """Wakes the writer; the writer in turn lets the reader pass when it has sent something."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._passed = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()

    def pass_on(self) -> None:
        self._passed.set()
        self._passed = trio.Event()

    async def passed(self) -> None:
        await self._passed.wait()
