"""``async with``: under Trio and under asyncio, without blocking either."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import pyzkserver
from pyzkserver.testing.loop import Loop

PATIENCE = 20


def run_in_trio(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(PATIENCE):
            await main()

    trio.run(bounded)


def run_in_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main(), PATIENCE)

    asyncio.run(bounded())


def test_serve_is_for_trio() -> None:
    """Where there is another loop it says so, and what to take there."""
    with pytest.raises(
        RuntimeError, match=r"serve\(\) runs in a Trio loop; asyncio, .*takes pyzkserver.Server"
    ):
        asyncio.run(pyzkserver.serve(pyzkserver.Config(client_port=0)))


RUNNERS = [run_in_trio, run_in_asyncio]


@pytest.fixture(params=RUNNERS, ids=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    return request.param  # type: ignore[no-any-return]


async def ruok(port: int) -> bytes:
    """Asked from within the loop, which must therefore be free."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ruok")
        answer = await reader.read(4)
        writer.close()
        await writer.wait_closed()
        return answer
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"ruok")
        return bytes(await stream.receive_some())


def test_it_serves_while_entered(run: Callable[..., None]) -> None:
    """And everything that a server can do can be done; when it is left nothing remains."""

    async def main() -> None:
        async with pyzkserver.Server(tree={"/a": b"1"}) as server:
            assert await ruok(server.port) == b"imok"
            server.put({"/b": b"2"})
            server.advance(30)
            server.assert_tree({"/a": b"1", "/b": b"2"})
            server.reset()
            assert server.tree() == {"/a": b"1"}
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.port
        async with server:
            assert await ruok(server.port) == b"imok"

    before = set(threading.enumerate())
    run(main)
    assert set(threading.enumerate()) == before


def test_what_prevents_it_is_raised(run: Callable[..., None]) -> None:
    """As in synchronous code."""

    async def main() -> None:
        async with pyzkserver.Server() as first:
            with pytest.raises(pyzkserver.PortUnavailable):
                async with pyzkserver.Server(client_port=first.port):
                    pass

    run(main)


def test_exceptions_in_the_body_come_out_as_they_are(run: Callable[..., None]) -> None:
    """And the server is stopped."""

    async def main() -> None:
        server = pyzkserver.Server()
        with pytest.raises(ZeroDivisionError):
            async with server:
                raise ZeroDivisionError
        with pytest.raises(RuntimeError, match="not running"):
            _ = server.port

    run(main)


class Held:
    """Keeps the servers' thread from doing anything, so that who waits for it can be looked at."""

    def __init__(self) -> None:
        self.loop = Loop.acquire()
        self.go_on = threading.Event()
        self.loop.soon(lambda: self.go_on.wait(PATIENCE))

    def release(self) -> None:
        self.released_in_time = not self.go_on.is_set()
        self.go_on.set()
        self.loop.release()


def test_the_loop_is_not_blocked(run: Callable[..., None]) -> None:
    """While it starts and stops, other tasks of the caller's loop go on: it is they who let it go on here."""

    async def main() -> None:
        server = pyzkserver.Server()
        for step in (server.__aenter__, lambda: server.__aexit__(None, None, None)):
            held = Held()
            await together(step, held.release)

    run(main)


async def together(step: Callable[[], Awaitable[Any]], then: Callable[[], None]) -> None:
    """Begin the one, and do the other when it waits."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(step)
            await trio.testing.wait_all_tasks_blocked()
            then()
    else:
        loop.call_later(0.01, then)
        await step()


def test_cancelled_while_it_starts() -> None:
    """Nobody leaves what was never entered, so it is stopped."""

    async def in_trio() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pyzkserver.Server():
                raise AssertionError
        assert scope.cancelled_caught

    async def in_asyncio() -> None:
        async def enter() -> None:
            async with pyzkserver.Server():
                raise AssertionError

        task = asyncio.create_task(enter())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = set(threading.enumerate())
    run_in_trio(in_trio)
    run_in_asyncio(in_asyncio)
    assert set(threading.enumerate()) == before


def test_cancelled_while_it_is_used(run: Callable[..., None]) -> None:
    """Leaving is finished all the same."""
    server = pyzkserver.Server()

    async def in_trio() -> None:
        with trio.move_on_after(0.01):
            async with server:
                await trio.sleep_forever()

    async def in_asyncio() -> None:
        async def use() -> None:
            async with server:
                await asyncio.Event().wait()

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(use(), 0.01)

    before = set(threading.enumerate())
    run(in_trio if run is run_in_trio else in_asyncio)
    assert set(threading.enumerate()) == before
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


def test_outside_of_any_loop() -> None:
    """What is neither Trio nor asyncio is told so, before anything starts."""
    entering = pyzkserver.Server().__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        entering.send(None)
