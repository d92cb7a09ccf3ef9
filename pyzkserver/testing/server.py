"""A server for synchronous code: a thread of its own, ready when entered, gone when left."""

import threading
from types import TracebackType
from typing import Any, Self

import trio

from pyzkserver.config import FOUR_LETTER_WORDS, Config
from pyzkserver.server import RunningServer, serve

__all__ = ["Server"]

_EMBEDDED: dict[str, Any] = {
    "client_port": 0,
    # One test may well open more than the 60 connections that Apache grants to one address.
    "max_client_cnxns": 0,
    "four_letter_words": "*",
    "extended_types_enabled": True,
}
"""Where an embedded server differs from Apache's defaults, unless told otherwise."""


class Server:
    """A server in this process.

    ::

        with Server() as server:
            client = KazooClient(server.hosts)

    Keyword arguments are those of Config; by default it takes any free port on 127.0.0.1, and keeps its data
    in memory.  Any number can run side by side.  One that was left can be entered again, and is empty then.
    """

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise TypeError("give Server either a Config or keyword arguments, not both")
        if config is None:
            settings = {**_EMBEDDED, **settings}
            if settings["four_letter_words"] == "*":
                settings["four_letter_words"] = FOUR_LETTER_WORDS
            config = Config(**settings)
        self.config = config
        self._thread: threading.Thread | None = None
        self._running: RunningServer | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._failure: BaseException | None = None

    def start(self) -> Self:
        """Start it; returns when clients are served.  Raises what prevents it, e.g. PortUnavailable."""
        if self._thread is not None:
            raise RuntimeError("this server is running already")
        ready = threading.Event()
        self._failure = None
        # A daemon, so that a program which forgets to stop it can still end.
        self._thread = threading.Thread(target=self._run, args=(ready,), name="pyzkserver", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop it.  Returns when its thread and sockets are gone.  Does nothing to one that is not running.

        Raises the error that ended the server, if one did.
        """
        if self._thread is None:
            return
        try:
            if self._token is not None:
                self._token.run_sync_soon(self._cancel)
        except trio.RunFinishedError:
            pass
        self._thread.join()
        self._thread = self._running = self._token = self._scope = None
        if self._failure is not None:
            raise self._failure

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    def _run(self, ready: threading.Event) -> None:
        try:
            trio.run(self._serve, ready)
        except BaseException as failure:
            self._failure = _unwrapped(failure)
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                self._running = await nursery.start(serve, self.config)
                ready.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> RunningServer:
        """The server itself.  Raises RuntimeError where it is not running."""
        if self._running is None:
            raise RuntimeError("this server is not running: use it in a with statement, or call start()")
        return self._running

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.running.port

    @property
    def hosts(self) -> str:
        """The connect string, e.g. ``127.0.0.1:40123``."""
        return self.running.hosts

    def statistics(self) -> dict[str, int]:
        """A few numbers: connections, sessions, znodes, watches …"""
        return self.running.statistics()


def _unwrapped(failure: BaseException) -> BaseException:
    """The one error in Trio's groups of one."""
    while isinstance(failure, BaseExceptionGroup) and len(failure.exceptions) == 1:
        failure = failure.exceptions[0]
    return failure
