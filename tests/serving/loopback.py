"""A data plane on a port of the loopback device, and clients that speak to it over real sockets."""

import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica import upkeep
from pyzkserver.server import build_replica
from pyzkserver.serving.admission import Admission
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.epoll_plane import EpollPlane
from pyzkserver.serving.port import listen
from pyzkserver.serving.service import Service
from pyzkserver.serving.task_plane import TaskPlane

from .talk import Call, Event, HeldLog, Reply, hello, packets, read_answer, read_welcome

PATIENCE = 20.0
"""Seconds after which a test gives up waiting.  Nothing here takes a hundredth of it."""

Plane = type[EpollPlane] | type[TaskPlane]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what other tasks bring about."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.lowlevel.checkpoint()


def open_descriptors() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


class Caller:
    """A client at its end of a socket."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self.session_id = 0
        self.password: bytes | None = None
        self.next_xid = 1
        self._input = bytearray()

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            while data:
                data = data[await self.sock.send(data) :]

    async def receive(self, limit: int = 1 << 18) -> bytes:
        """Some bytes; none at the end of the stream."""
        with trio.fail_after(PATIENCE):
            return await self.sock.recv(limit)

    def hold(self, data: bytes) -> None:
        """What was received, but is to be read as part of a frame."""
        self._input += data

    async def read_frame(self) -> bytes:
        """The payload of the next frame."""
        while True:
            if len(self._input) >= 4:
                end = 4 + int.from_bytes(self._input[:4], "big")
                if len(self._input) >= end:
                    payload = bytes(self._input[4:end])
                    del self._input[:end]
                    return payload
            data = await self.receive()
            if not data:
                raise EOFError
            self._input += data

    async def read_answer(self) -> Reply | Event:
        return read_answer(await self.read_frame())

    async def rest(self) -> bytes:
        """Everything up to the end of the stream.  A connection that is reset raises."""
        data = bytes(self._input)
        self._input.clear()
        while more := await self.receive():
            data += more
        return data

    async def gone(self) -> bool:
        """Waits for the end of the stream, whichever way it ends; whether nothing came before it."""
        try:
            return not await self.rest()
        except ConnectionError:
            return True

    async def greet(self, timeout: int = 40_000, **handshake: Any) -> None:
        await self.send(hello(timeout, **handshake))
        welcome = read_welcome(await self.read_frame())
        self.session_id, self.password = welcome.session_id, welcome.password

    async def ask(self, *calls: Call) -> list[Reply | Event]:
        """Send requests in one piece, and read as many answers."""
        await self.send(packets(calls, self.next_xid))
        self.next_xid += len(calls)
        return [await self.read_answer() for _ in calls]

    async def say(self, call: Call) -> Reply:
        (reply,) = await self.ask(call)
        assert isinstance(reply, Reply), reply
        return reply

    async def do(self, *calls: Call) -> None:
        """Requests that have to succeed."""
        for call in calls:
            reply = await self.say(call)
            assert reply.err == 0, (call, reply)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Break the connection off, as a machine that crashed does when it is back."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Port:
    """What listens, and those who called."""

    def __init__(self, plane: Plane, log: HeldLog | None, settings: dict[str, Any]) -> None:
        self.host = Host()
        patient = {"client_port": 0, "max_client_cnxns": 0, "sessionless_cnxn_timeout_ms": 10**6}
        self.config = Config(**{**patient, **settings})
        self.replica = build_replica(self.config, self.host, log=log)
        self.service = Service(self.config, self.replica, self.host)
        self.admission = Admission(self.config)
        self.plane = plane(self.service, self.admission)
        self.number = 0
        self.callers: list[Caller] = []

    async def call(self, *, buffer: int | None = None, address: str = "127.0.0.1") -> Caller:
        """A client that is connected and has not said anything.  ``buffer``: it hardly takes anything in."""
        sock = trio.socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await sock.bind((address, 0))
        await sock.connect(("127.0.0.1", self.number))
        caller = Caller(sock)
        self.callers.append(caller)
        return caller

    async def client(self, timeout: int = 40_000, *, buffer: int | None = None) -> Caller:
        """A client with a session."""
        caller = await self.call(buffer=buffer)
        await caller.greet(timeout)
        return caller

    def connection_of(self, caller: Caller) -> Connection | None:
        """The server's end of it, if it is still there."""
        return next((each for each in self.service.connections if each.address[1] == caller.port), None)


@asynccontextmanager
async def open_port(plane: Plane, log: HeldLog | None = None, **settings: Any) -> AsyncIterator[Port]:
    """A server with that data plane, without its upkeep of containers."""
    port = Port(plane, log, settings)
    try:
        config = port.config
        with listen(port.host, config, config.client_port_address, config.client_port) as listener:
            port.number = listener.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(port.plane.run, listener)
                nursery.start_soon(upkeep.keep_sessions, port.replica, port.host)
                yield port
                nursery.cancel_scope.cancel()
    finally:
        for caller in port.callers:
            caller.close()
