"""The simulated network keeps what TCP promises, and breaks everything else when told to."""

import errno
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import check_two_way_stream

from .host import seeded_run
from .network import Machine, Network, SimListener, Weather
from .stream import SimStream

A, B = "10.0.0.1", "10.0.0.2"


def run(scenario: Callable[..., Awaitable[Any]], seed: int = 0, **how: Any) -> Any:
    """In a network of two machines, the second of which listens on port 1."""

    async def main() -> Any:
        network = Network(Random(seed), **how)
        network.machine(A)
        network.machine(B).listen(1, 5)
        return await scenario(network)

    return seeded_run(seed, main)


async def pair(network: Network) -> tuple[SimStream, SimStream]:
    """A connection from the first machine to the second."""
    here = await network.machine(A).connect(B, 1)
    return here, await listener(network).accept()


def listener(network: Network) -> SimListener:
    return network.machine(B).listeners[1]


async def receive_exactly(stream: SimStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some()
        assert more
        data += more
    return data


@pytest.mark.parametrize("seed", range(5))
def test_it_is_a_stream_as_trio_defines_them(seed: int) -> None:
    """Trio's own conformance suite, which sockets pass as well."""

    async def check(network: Network) -> None:
        async def make() -> tuple[SimStream, SimStream]:
            return await pair(network)

        async def make_clogged() -> tuple[SimStream, SimStream]:
            here, there = await pair(network)
            for stream in (here, there):
                with trio.move_on_after(1):
                    await stream.send_all(bytes(network.buffer * 2))
            return here, there

        await check_two_way_stream(make, make_clogged)

    run(check, seed, pieces=0.0)


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_bytes_arrive_in_order_whatever_the_weather(loss: float) -> None:
    async def check(network: Network) -> None:
        network.weather(A, B, Weather(0.001, 0.1, loss))
        here, there = await pair(network)
        sent = Random(1).randbytes(5000)

        async def send() -> None:
            for start in range(0, len(sent), 100):
                await here.send_all(sent[start : start + 100])
                await trio.sleep(0.001)
            await here.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert await receive_exactly(there, len(sent)) == sent
        assert await there.receive_some() == b""

    run(check, pieces=0.5, patience=60.0)


def test_a_sender_waits_for_a_reader_that_does_not_read() -> None:
    """Buffers are bounded: what is on its way and what is unread, together."""

    async def check(network: Network) -> None:
        here, there = await pair(network)
        with trio.move_on_after(100) as scope:
            await here.send_all(bytes(2000))
        assert scope.cancelled_caught
        assert len(await receive_exactly(there, 1000)) == 1000
        with trio.fail_after(1):
            await here.wait_send_all_might_not_block()

    run(check, buffer=1000)


@pytest.mark.parametrize("how", ["off", "off and on", "a lost reset"])
def test_who_waits_for_a_reader_that_is_gone_hears_of_it(how: str) -> None:
    """As by TCP's probes of a closed window.  (Found by the seeds: a client waited for ever.)"""

    async def scenario(network: Network) -> None:
        here, there = await pair(network)
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                try:
                    await here.send_all(bytes(3 * network.buffer))
                    await here.receive_some()
                except trio.BrokenResourceError:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(send)
            await trio.sleep(5)
            if how == "a lost reset":
                network.block(B, A)
                there.close()
                await trio.sleep(0.01)
                network.heal()
            else:
                network.machine(B).crash()
                if how == "off and on":
                    network.machine(B).start()
            await trio.sleep(10 * network.patience)
            raise AssertionError("it waits for ever")

    run(scenario)


def test_a_block_delays_and_does_not_lose() -> None:
    """A short one: the packet is sent again when the link is back."""

    async def check(network: Network) -> None:
        here, there = await pair(network)
        network.block(A, B)
        await here.send_all(b"x")
        with trio.move_on_after(5) as scope:
            await there.receive_some()
        assert scope.cancelled_caught
        network.heal()
        with trio.fail_after(3):
            assert await there.receive_some() == b"x"

    run(check, patience=15.0)


def test_a_long_block_breaks_the_sender_and_the_other_end_never_hears_of_it() -> None:
    """Half open."""

    async def check(network: Network) -> None:
        here, there = await pair(network)
        network.block(A, B)
        await here.send_all(b"x")
        await trio.sleep(20)
        network.heal()
        with pytest.raises(trio.BrokenResourceError, match="timed out"):
            await here.send_all(b"y")
        with trio.move_on_after(1000) as scope:
            await there.receive_some()
        assert scope.cancelled_caught
        # Only when it says something itself.
        here.close()
        await there.send_all(b"z")
        with trio.fail_after(1), pytest.raises(trio.BrokenResourceError, match="reset"):
            await there.receive_some()

    run(check, patience=15.0)


def test_one_way_blocked() -> None:
    """What is sent on the open way arrives, until its sender gives up waiting for acknowledgements."""

    async def check(network: Network) -> None:
        here, there = await pair(network)
        network.block(B, A)
        await here.send_all(b"one")
        assert await receive_exactly(there, 3) == b"one"
        await here.send_all(b"two")
        with trio.fail_after(1):
            assert await receive_exactly(there, 3) == b"two"
        await there.send_all(b"three")
        with trio.move_on_after(5) as scope:
            await here.receive_some()
        assert scope.cancelled_caught
        await trio.sleep(15)
        with pytest.raises(trio.BrokenResourceError, match="timed out"):
            await here.send_all(b"four")

    run(check, patience=15.0)


def test_a_connection_that_was_lost_between_the_ends() -> None:
    """New ones get through, the old one is half open."""

    async def check(network: Network) -> None:
        here, _ = await pair(network)
        network.lose_between(A, B)
        await here.send_all(b"x")
        again, there = await pair(network)
        await again.send_all(b"y")
        assert await there.receive_some() == b"y"
        await trio.sleep(20)
        with pytest.raises(trio.BrokenResourceError, match="timed out"):
            await here.send_all(b"x")

    run(check)


def test_resets_are_heard_at_both_ends() -> None:
    async def check(network: Network) -> None:
        here, there = await pair(network)
        network.reset_between(A, B)
        for stream in (here, there):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()

    run(check)


def test_a_killed_process_is_heard_of_and_a_crash_is_not() -> None:
    async def check(network: Network) -> None:
        here, _ = await pair(network)
        network.machine(B).kill()
        with trio.fail_after(1):
            assert await here.receive_some() == b""
        network.machine(B).listen(1, 5)
        here, there = await pair(network)
        network.machine(B).crash()
        with pytest.raises(trio.BrokenResourceError):
            await there.receive_some()
        with trio.move_on_after(1000) as scope:
            await here.receive_some()
        assert scope.cancelled_caught
        network.machine(B).start()
        await here.send_all(b"hello?")
        with trio.fail_after(1), pytest.raises(trio.BrokenResourceError, match="reset"):
            await here.receive_some()

    run(check)


def test_calls_are_refused_or_time_out() -> None:
    async def check(network: Network) -> None:
        caller, called = network.machine(A), network.machine(B)

        async def failure(address: str, port: int) -> tuple[int, float]:
            start = trio.current_time()
            with pytest.raises(OSError) as caught:
                await caller.connect(address, port)
            return caught.value.errno, trio.current_time() - start

        assert (await failure("10.9.9.9", 1))[0] == errno.EHOSTUNREACH
        number, took = await failure(B, 2)
        assert number == errno.ECONNREFUSED
        assert took < 0.01
        called.crash()
        number, took = await failure(B, 1)
        assert number == errno.ETIMEDOUT
        assert took >= 15
        called.start()
        assert (await failure(B, 1))[0] == errno.ECONNREFUSED
        with pytest.raises(OSError, match="in use"):
            called.listen(1, 5) and called.listen(1, 5)

    run(check)


def test_a_caller_that_goes_away_leaves_no_connection() -> None:
    """Cancelled between the two halves of the handshake."""

    async def check(network: Network) -> None:
        network.usual = Weather(1.0, 0.0)
        with trio.move_on_after(1.5):
            await network.machine(A).connect(B, 1)
        there = await listener(network).accept()
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
            await there.receive_some()
        assert not network.machine(A).streams

    run(check)


def test_a_listener_that_nobody_serves_takes_its_backlog_and_no_more() -> None:
    async def check(network: Network) -> None:
        callers = [await network.machine(A).connect(B, 1) for _ in range(5)]
        with pytest.raises(OSError) as caught:
            await network.machine(A).connect(B, 1)
        assert caught.value.errno == errno.ETIMEDOUT
        listener(network).close()
        for caller in callers:
            with pytest.raises(trio.BrokenResourceError):
                await caller.receive_some()

    run(check)


def test_groups_hear_their_own() -> None:
    async def check(network: Network) -> None:
        third: Machine = network.machine("10.0.0.3")
        network.partition([A], [B, third.address])
        await third.connect(B, 1)
        with pytest.raises(OSError):
            await network.machine(A).connect(B, 1)

    run(check)


def test_one_seed_is_one_order() -> None:
    async def story(network: Network) -> list[tuple[float, bytes]]:
        network.weather(A, B, Weather(0.01, 0.1, 0.1))
        streams = [await pair(network) for _ in range(3)]
        heard: list[tuple[float, bytes]] = []

        async def listen(stream: SimStream) -> None:
            while data := await stream.receive_some():
                heard.append((trio.current_time(), data))

        async with trio.open_nursery() as nursery:
            for number, (here, there) in enumerate(streams):
                nursery.start_soon(listen, there)
                nursery.start_soon(here.send_all, b"%d" % number * 20)
            await trio.sleep(100)
            for here, _ in streams:
                await here.aclose()
        return heard

    assert run(story, 3) == run(story, 3)
    assert run(story, 3) != run(story, 4)
