"""Trio loops in threads, for programs that have none.  What runs in them is not known here.

The servers of a process share one thread and one loop, so that hundreds of them cost descriptors for their
own sockets only.  It starts with the first that needs it and is gone when the last has let go of it.
"""

import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ClassVar, Self, TypeVar

import trio

__all__ = ["Loop"]

T = TypeVar("T")


class Loop:
    """A Trio loop in a daemon thread: a program that forgets to stop it can still end."""

    _shared: "ClassVar[Loop | None]" = None
    _users: ClassVar[int] = 0
    _lock: ClassVar[threading.Lock] = threading.Lock()
    """Guards the two above, and the beginning and end of the shared loop."""

    def __init__(self) -> None:
        _check_threads()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="pyzkserver", daemon=True)
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._over: trio.Event

    @classmethod
    def acquire(cls) -> "Loop":
        """The loop that all share, until ``release``."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls().start()
            cls._users += 1
            return cls._shared

    def release(self) -> None:
        """Whoever acquired it (or started it) needs it no longer; the last to say so ends it."""
        if self is not Loop._shared:
            self._end()
            return
        with Loop._lock:
            Loop._users -= 1
            if Loop._users == 0:
                Loop._shared = None
                self._end()

    @classmethod
    def forget_after_fork(cls) -> None:
        """In a forked child: the thread has stayed behind, and whatever it held with it."""
        cls._shared, cls._users, cls._lock = None, 0, threading.Lock()

    def start(self) -> Self:
        """Returns when it runs."""
        self._thread.start()
        self._ready.wait()
        return self

    def _end(self) -> None:
        self.soon(self._over.set)
        self._thread.join()

    async def _main(self) -> None:
        self._over = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._ready.set()
            await self._over.wait()

    def spawn(self, main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Run this in a task of its own.  It must not raise, for then all that runs here would end."""
        self._token.run_sync_soon(self._nursery.start_soon, main, *arguments)

    def soon(self, function: Callable[[], object]) -> None:
        """Call it in the loop's thread, soon; it must not raise either."""
        self._token.run_sync_soon(function)

    @property
    def is_here(self) -> bool:
        """Whether the caller is in this loop's thread."""
        return threading.get_ident() == self._thread.ident

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it in the loop's thread, wait for it, and return what it returned or raise what it raised.

        A coroutine function is run in a task.  In the loop's own thread a plain function is simply called; there
        nobody can wait for a coroutine, so that is a RuntimeError.
        """
        if inspect.iscoroutinefunction(function):
            if self.is_here:
                raise RuntimeError("this is the server's own thread, which cannot wait: await the coroutine")
            outcome: Future[Any] = Future()
            self.spawn(_settle_async, outcome, function, arguments)
        elif self.is_here:
            return function(*arguments)
        else:
            outcome = Future()
            self._token.run_sync_soon(_settle, outcome, function, arguments)
        return outcome.result()


def _check_threads() -> None:
    """Raise RuntimeError where a thread is none, and both would wait for each other."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        raise RuntimeError(
            "gevent has replaced threads here, and a server in this process needs a real one: start one beside"
            " it, `pyzkserver --port 0 --until-eof`"
        )


def _settle(outcome: "Future[Any]", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        outcome.set_result(function(*arguments))
    except BaseException as error:  # it is the caller's, whatever it is
        outcome.set_exception(error)


async def _settle_async(
    outcome: "Future[Any]", function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]
) -> None:
    try:
        outcome.set_result(await function(*arguments))
    except BaseException as error:
        outcome.set_exception(error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Loop.forget_after_fork)
