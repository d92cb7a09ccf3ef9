"""A server on a simulated machine: everything of the real one but the sockets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from pyzkserver.config import Config
from pyzkserver.replica import upkeep
from pyzkserver.server import new_tree, recovered_replica
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.service import Service
from pyzkserver.storage.recovery import Recovered
from pyzkserver.storage.store import Store

from .host import SimHost

__all__ = ["DATA_DIR", "SimServer", "settings"]

DATA_DIR = Path("/var/data")


def settings(**changes: Any) -> Config:
    """A server with a data directory, whose files stay small."""
    given: dict[str, Any] = {
        "data_dir": DATA_DIR,
        "tick_time": 200,
        "pre_alloc_size": 1,
        "extended_types_enabled": True,
        **changes,
    }
    return Config(**given)


class SimServer:
    """One life of a server, from its start to its end.  Starting raises what the real one raises."""

    def __init__(self, config: Config, host: SimHost) -> None:
        self.host = host
        self.store = Store(config, host)
        self.recovered: Recovered = self.store.open(lambda: new_tree(config))
        self.replica = recovered_replica(config, host, self.store, self.recovered)
        self.service = Service(config, self.replica, host)
        self.config = config
        self.dead = False
        """Nothing it says counts any more."""

    def connect(self, wake: Callable[[Connection], None]) -> Connection:
        """A connection to it, to be driven by hand."""
        return Connection(self.service, ("127.0.0.1", 0), wake)

    async def run(self) -> None:
        """What the server does of its own accord, for ever.  Raises StorageFailed, in groups."""
        config = self.config
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.store.run, self.replica.tree, self.replica.sessions)
            await upkeep.keep(
                self.replica,
                self.host,
                interval_ms=config.container_check_interval_ms,
                max_per_minute=config.container_max_per_minute,
                max_never_used_ms=config.container_max_never_used_interval_ms,
            )

    def die(self) -> None:
        """End without any of what an orderly end does."""
        self.dead = True
        for worker in self.host.workers.values():
            worker.abandon()

    def stop(self) -> None:
        """End in an orderly way."""
        self.dead = True
        self.store.close()
