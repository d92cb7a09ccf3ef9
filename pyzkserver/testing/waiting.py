"""Waiting, in whatever loop the caller runs, for what another thread calls back about."""

from collections.abc import Callable

import trio

__all__ = ["told"]


async def told(begin: Callable[[Callable[[], None]], None]) -> None:
    """Call ``begin`` with a function, and wait until another thread calls that; under Trio or asyncio.

    Cancelled like any wait; what was begun goes on then.
    """
    try:
        token = trio.lowlevel.current_trio_token()
    except RuntimeError:
        await _told_asyncio(begin)
        return
    event = trio.Event()

    def tell() -> None:
        try:
            token.run_sync_soon(event.set)
        except trio.RunFinishedError:
            pass  # nobody waits any more

    begin(tell)
    await event.wait()


async def _told_asyncio(begin: Callable[[Callable[[], None]], None]) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    begin(tell)
    await event.wait()
