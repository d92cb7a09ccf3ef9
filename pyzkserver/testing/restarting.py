"""Stopping a server and starting it again on its port, with what it held or without."""

import shutil
import socket
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyzkserver.config import Config
from pyzkserver.serving.port import reserve

from .clock import MovableHost
from .contents import State
from .keeping import Keeping

__all__ = ["Restarting", "Resumption"]


@dataclass(frozen=True)
class Resumption:
    """What a server that is started again takes over from its former life."""

    port: int
    host: MovableHost
    """Its clock does not go back."""
    state: State | None
    """Of one in memory; None for an empty one, and where the data is on the disk."""
    initial: State | None
    kept: dict[int, None]
    """What ``reset`` needs to know."""


class Restarting(Keeping):
    """The operations."""

    _resumption: Resumption | None = None

    @property
    @abstractmethod
    def in_its_thread(self) -> bool:
        """Whether the caller is in the server's thread."""

    @abstractmethod
    def start(self) -> Any:
        """Start it."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it."""

    def restart(self, *, keep_data: bool = True) -> None:
        """Stop it and start it again at once: see ``down``."""
        with self.down(keep_data=keep_data):
            pass

    @contextmanager
    def down(self, *, keep_data: bool = True) -> Iterator[None]:
        """The server is down in this block: clients lose their connections, and new ones are refused.

        Afterwards it serves on the same port, with all it held (nodes, zxids, sessions, whose time begins anew; one
        with a data directory reads it again), or with ``keep_data=False`` with nothing: then clients that have
        seen a zxid which it has not are turned away, as by Apache's server, until it has.  Watches do not
        outlive it; rules and the recording do.
        """
        if self.in_its_thread:
            raise RuntimeError(
                "a server cannot be taken down in its own thread, which would then wait for itself"
            )
        port = self.running.port
        in_memory = self.config.data_dir is None
        state = self.snapshot() if keep_data and in_memory else None
        self._resumption = Resumption(port, self._host, state, self._initial, self._kept)
        reserved = None
        try:
            self.stop()
            reserved = _reserve(self.config, port)
            if not keep_data:
                _wipe(self.config)
            yield
        finally:
            try:
                if sys.platform != "linux":
                    _close(reserved)  # elsewhere nobody else may listen while it is bound
                self.start()
            finally:
                _close(reserved)
                self._resumption = None


def _reserve(config: Config, port: int) -> socket.socket | None:
    """A socket that keeps the port from being given to somebody else, and that refuses connections."""
    try:
        return reserve(port, config.client_port_address)
    except OSError:
        return None  # whoever has it now, has it: starting again will say so


def _close(reserved: socket.socket | None) -> None:
    if reserved is not None:
        reserved.close()


def _wipe(config: Config) -> None:
    """Remove what a data directory holds."""
    for directory in {config.data_dir, config.data_log_dir} - {None}:
        assert directory is not None
        shutil.rmtree(directory / "version-2", ignore_errors=True)
