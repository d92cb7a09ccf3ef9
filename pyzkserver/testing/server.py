"""A server for tests, hosted for code of any kind: in a thread, ready when entered, gone when left.

What can be done with one that runs is in the mixins: ``control.py`` and its like.
"""

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import trio

from pyzkserver.config import FOUR_LETTER_WORDS, Config, load
from pyzkserver.server import RunningServer, serve

from .assertions import Assertions
from .clock import MovableHost
from .contents import Contents
from .disturbed import Disturbed
from .loop import Loop
from .restarting import Restarting
from .sessions import check_sessions
from .waiting import told

__all__ = ["Server"]

T = TypeVar("T")

_EMBEDDED: dict[str, Any] = {
    "client_port": 0,
    # One test may well open more than the 60 connections that Apache grants to one address.
    "max_client_cnxns": 0,
    "four_letter_words": "*",
    "extended_types_enabled": True,
}
"""Where an embedded server differs from Apache's defaults, unless told otherwise."""


class Server(Restarting, Assertions, Disturbed):
    """A server in this process.

    ::

        with Server() as server:
            client = KazooClient(server.hosts)

    ``async with`` does the same under Trio and asyncio, without blocking their loops.  Keyword arguments are
    those of Config; by default it takes any free port on 127.0.0.1, and keeps its data in memory.  Any number
    can run side by side.  ``tree`` is what it begins with (``Contents``).  One that was left can be entered again,
    and begins anew.
    """

    def __init__(
        self, config: Config | None = None, *, tree: "Contents | None" = None, **settings: Any
    ) -> None:
        if config is not None and settings:
            raise TypeError("give Server either a Config or keyword arguments, not both")
        if config is None:
            settings = {**_EMBEDDED, **settings}
            if settings["four_letter_words"] == "*":
                settings["four_letter_words"] = FOUR_LETTER_WORDS
            config = load(None, overrides=settings)
        if not isinstance(config, Config):
            raise TypeError(
                f"Server({config!r}): this is no Config; settings are keywords, such as client_port=2181, and what it"
                " begins with is tree="
            )
        self.config = config
        self._contents = tree
        self._loop: Loop | None = None
        self._running: RunningServer | None = None
        self._scope: trio.CancelScope
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._tell_start: Callable[[], None]
        self._tell_end: Callable[[], None] | None = None
        self._parent = 0
        """In a forked child: the process that this server runs in."""
        _servers.add(self)

    def __repr__(self) -> str:
        return f"<Server {self._running.hosts if self._running is not None else '(not running)'}>"

    # its life

    def start(self) -> Self:
        """Start it; returns when clients are served.  Raises what prevents it, e.g. PortUnavailable."""
        ready = threading.Event()
        self._start(ready.set)
        ready.wait()
        self._finish_start()
        return self

    def stop(self) -> None:
        """Stop it.  Returns when its sockets are gone.  Does nothing to one that is not running.

        Raises the error that ended the server, if one did.
        """
        if self._loop is None or self._parent:
            return
        if self.in_its_thread:
            raise RuntimeError(
                "a server cannot be stopped in its own thread, which would then wait for itself"
            )
        over = threading.Event()
        self._stop(over.set)
        over.wait()
        self._finish_stop()

    def _start(self, tell: Callable[[], None]) -> None:
        """Begin to start it; ``tell`` is called in another thread when it serves, or has failed."""
        if self._parent:
            self._parent, self._loop = 0, None  # one of this process's own, then
        if self._loop is not None:
            raise RuntimeError("this server is running already")
        self._failure = None
        self._ended.clear()
        self._tell_start, self._tell_end = tell, None
        self._scope = trio.CancelScope()
        self._host = self._new_host() if self._resumption is None else self._resumption.host
        self._begin()
        self._loop = self._new_loop()
        self._loop.spawn(self._serve)

    def _new_host(self) -> MovableHost:
        return MovableHost()

    def _new_loop(self) -> Loop:
        """One that has files to read may take long, and must not keep others waiting."""
        reads = self.config.data_dir is not None or isinstance(self._contents, str | os.PathLike)
        return Loop().start() if reads else Loop.acquire()

    def _finish_start(self) -> None:
        if self._failure is not None:
            self._finish_stop()

    def _stop(self, tell: Callable[[], None]) -> None:
        """Begin to stop it; ``tell`` is called, perhaps in another thread, when it has ended."""
        assert self._loop is not None
        self._tell_end = tell
        self._loop.soon(partial(self._cancel, self._scope))

    def _cancel(self, life: trio.CancelScope) -> None:
        if life is not self._scope:
            return  # that one ended by itself at the same moment, said so, and another one has begun
        if self._ended.is_set():
            assert self._tell_end is not None
            self._tell_end()
        else:
            self._scope.cancel()

    def _finish_stop(self) -> None:
        assert self._loop is not None
        self._loop.release()
        self._loop = self._running = None
        if self._failure is not None:
            raise self._failure

    async def _serve(self) -> None:
        ready = False
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._running = await nursery.start(self._serve_it)
                    await self._take_over()
                    ready = True
                    self._tell_start()
        except BaseException as failure:
            self._failure = _unwrapped(failure)
        self._ended.set()
        if not ready:
            self._tell_start()
        if self._tell_end is not None:
            self._tell_end()

    async def _serve_it(self, task_status: trio.TaskStatus[RunningServer]) -> None:
        config = self.config
        if self._resumption is not None:
            config = replace(config, client_port=self._resumption.port)
        await serve(config, host=self._host, service_type=self._new_service, task_status=task_status)

    async def _take_over(self) -> None:
        """What it begins with, or held in its former life."""
        if self._resumption is None:
            await self._bring_in(self._contents)
        else:
            await self._bring_in(self._resumption.state)
            self._initial, self._kept = self._resumption.initial, self._resumption.kept

    def _reset(self, keep: Iterable[int]) -> None:
        check_sessions(keep, self.running.replica.sessions)
        self.faults.clear()
        self.recording.clear()
        super()._reset(keep)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await told(self._start)
        except BaseException:  # cancelled: nobody will leave what was not entered
            self.stop()
            raise
        self._finish_start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is None or self._parent:
            return
        try:
            await told(self._stop)
        finally:
            self.stop() if not self._ended.is_set() else self._finish_stop()

    # what is there

    @property
    def running(self) -> RunningServer:
        """The server itself, which lives in another thread: see ``run``.  RuntimeError where it is not running."""
        if self._running is None:
            raise RuntimeError(self._how_to_start())
        return self._running

    def _how_to_start(self) -> str:
        """For people who want something of one that does not run."""
        return "this server is not running: use it in a with statement, or call start()"

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._running is not None and not self._ended.is_set() and not self._parent

    @property
    def in_its_thread(self) -> bool:
        """Whether the caller is in the server's thread, which must not wait."""
        return self._loop is not None and self._loop.is_here and not self._parent

    @property
    def name(self) -> str:
        """What reports call it, where there are several."""
        return ""

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.running.port

    @property
    def hosts(self) -> str:
        """The connect string, e.g. ``127.0.0.1:40123``."""
        return self.running.hosts

    @overload
    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T: ...
    @overload
    def run(self, function: Callable[..., T], *arguments: Any) -> T: ...
    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function`` in the server's thread, between two requests, and wait for it.

        Returns what it returns and raises what it raises.  A coroutine function runs as a task of the server's
        Trio loop.  In that thread itself (a callback of the server's) a plain function is called at once.
        """
        self.running  # noqa: B018  raises where there is none
        if self._parent:
            raise RuntimeError(
                f"this server runs in process {self._parent}, of which this one ({os.getpid()}) is a fork: here"
                " clients can connect to it (hosts, port), and that is all. Start a Server of this process's own"
            )
        assert self._loop is not None
        if self._ended.is_set():
            raise RuntimeError("this server has ended by an error of its own") from self._failure
        return self._loop.run(function, *arguments)


_servers: "weakref.WeakSet[Server]" = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """In a forked child: no server runs here, for their threads are not here."""
    for server in list(_servers):
        if server._loop is not None and not server._parent:
            server._parent = os.getppid()
            server._ended = threading.Event()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)


def _unwrapped(failure: BaseException) -> BaseException:
    """The one error in Trio's groups of one."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure
