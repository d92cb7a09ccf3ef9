"""The client port moves while a member serves: who is connected stays, who comes comes to the new place."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, trio_test

from pyzkserver.serving.epoll_plane import EpollPlane
from pyzkserver.serving.moving import MovablePort
from pyzkserver.serving.task_plane import TaskPlane

from .loopback import Plane, Port, open_descriptors, until
from .talk import create, exists, get


@pytest.fixture(params=[EpollPlane, TaskPlane], ids=["epoll", "tasks"])
def plane(request: pytest.FixtureRequest) -> Plane:
    kind: Plane = request.param
    return kind


@pytest.fixture
def clock() -> MockClock:
    """Goes as clocks do, and can be put forward."""
    return MockClock(rate=1.0)


@asynccontextmanager
async def served(plane: Plane) -> AsyncIterator[tuple[Port, MovablePort]]:
    """Clients of ``port.number`` are served, and it may move."""
    port = Port(plane, None, {})
    try:
        with MovablePort(port.service, ("127.0.0.1", 0)) as movable:
            port.number = port.service.port
            async with trio.open_nursery() as nursery:
                nursery.start_soon(movable.serve, port.plane)
                yield port, movable
                nursery.cancel_scope.cancel()
    finally:
        for caller in port.callers:
            caller.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def is_refused(number: int) -> bool:
    """Whether nothing listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) != 0


@pytest.mark.parametrize("steps", range(5))
@trio_test
async def test_it_may_move_at_any_time(plane: Plane, steps: int) -> None:
    """Also while it is just beginning to serve: members change when they change."""
    async with served(plane) as (port, movable):
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        port.number = free_port()
        movable.move(("127.0.0.1", port.number))
        client = await port.client()
        await client.do(create("/0"))


@trio_test
async def test_who_is_connected_stays(plane: Plane) -> None:
    """And is answered as before, to the end; the old port refuses, the new one serves, as often as it moves."""
    async with served(plane) as (port, movable):
        first = await port.client()
        await first.do(create("/0"))
        descriptors = open_descriptors()
        for number in range(1, 4):
            old, new = port.number, free_port()
            movable.move(("127.0.0.1", new))
            assert (port.service.address, port.service.port) == ("127.0.0.1", new)
            assert is_refused(old)
            port.number = new
            newcomer = await port.client()
            await newcomer.do(get("/0"), create(f"/{number}"))
            await first.do(exists(f"/{number}"))
        for caller in port.callers[1:]:
            caller.close()
        await until(lambda: len(port.service.connections) == 1)
        assert open_descriptors() <= descriptors, "nothing of the old ports is left"


@trio_test
async def test_a_port_that_is_taken_is_had_when_it_is_free(
    plane: Plane, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and those who are connected notice nothing."""
    async with served(plane) as (port, movable):
        first = await port.client()
        with socket.socket() as taken, caplog.at_level(logging.INFO, logger="pyzkserver.port"):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            there = taken.getsockname()[1]
            movable.move(("127.0.0.1", there))
            await first.do(create("/a"))
            for _ in range(3):
                clock.jump(1)
                await trio.sleep(0.001)
            await first.do(create("/b"))
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1
        assert f"127.0.0.1:{there} is taken already" in said[0]
        clock.jump(1)
        await until(lambda: port.service.port == there)
        port.number = there
        await (await port.client()).do(get("/b"))


@trio_test
async def test_a_port_that_cannot_be_had_may_be_changed_once_more(plane: Plane, clock: MockClock) -> None:
    async with served(plane) as (port, movable):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            movable.move(("127.0.0.1", taken.getsockname()[1]))
            port.number = free_port()
            movable.move(("127.0.0.1", port.number))
            client = await port.client()
            clock.jump(2)
            await client.do(create("/a"))
            await (await port.client()).do(get("/a"))


@trio_test
async def test_the_same_address_is_no_change(plane: Plane) -> None:
    """A reconfiguration that only changes other things lets it be."""
    async with served(plane) as (_, movable):
        listener = movable._listener
        movable.move(("127.0.0.1", 0))
        assert movable._listener is listener
