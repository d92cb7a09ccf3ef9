"""The client port of a member, which a reconfiguration may move while it serves."""

import contextlib
import logging
import socket
from types import TracebackType
from typing import Self

import trio

from .epoll_plane import EpollPlane
from .port import PortUnavailable, listen
from .service import Service
from .task_plane import TaskPlane

__all__ = ["MovablePort"]

logger = logging.getLogger("pyzkserver.port")

_AGAIN = 1.0
"""Seconds between two attempts to have an address."""


class MovablePort:
    """Where new clients come to; those that are connected stay, wherever they came (``NIOServerCnxnFactory``).

    It listens when it is made, and is closed when it is left.
    """

    def __init__(self, service: Service, address: tuple[str, int] | None) -> None:
        """At this address, or at that of the Config.  Raises PortUnavailable."""
        config = service.config
        self._address = address or (config.client_port_address, config.client_port)
        self._service = service
        self._listener: socket.socket | None = None
        self._plane: EpollPlane | TaskPlane | None = None
        self._missing = trio.Event()
        """The address could not be had yet."""
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()

    def _open(self) -> None:
        service = self._service
        self._listener = listen(service.host, service.config, *self._address)
        service.address, service.port = self._address[0], self._listener.getsockname()[1]
        if self._plane is not None:
            self._plane.listen_to(self._listener)

    def move(self, address: tuple[str, int]) -> None:
        """Listen there from now on, and no longer where it did.

        Where that cannot be done nobody new can connect: it is said, and tried again until it can.  (Apache's
        server says it, and does not try again.)  The member goes on in any case.
        """
        if address == self._address:
            return
        if self._plane is not None:
            self._plane.listen_to(None)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._address = address
        try:
            self._have()
            logger.info("clients connect to %s:%d from now on", *address)
        except PortUnavailable as error:
            logger.error(
                "no client can connect until this is mended, or the port changed once more: %s", error
            )
            self._missing.set()

    def _have(self) -> None:
        """The address, which may have been missing."""
        self._open()
        if self._missing.is_set():
            self._missing = trio.Event()

    async def serve(self, plane: EpollPlane | TaskPlane) -> None:
        """Have this plane serve the clients that come, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, plane)
            while True:
                await self._missing.wait()
                await self._service.host.sleep(_AGAIN)
                if self._missing.is_set():
                    with contextlib.suppress(PortUnavailable):
                        self._have()
                        logger.info("clients can connect again: to %s:%d", *self._address)

    async def _run(self, plane: EpollPlane | TaskPlane) -> None:
        # In one step with its beginning: a port that moves before that is where the plane begins.
        self._plane = plane
        await plane.run(self._listener)
