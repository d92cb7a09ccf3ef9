"""The election port: bound for as long as the member lives, and moved where its configuration says.

What is said there is the business of ``mesh.py`` and ``election.py``.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from pyzkserver.host import Host

from .listening import Listener, open_listeners
from .members import Address
from .mesh import Mesh

__all__ = ["ElectionPort"]

logger = logging.getLogger("pyzkserver.quorum")

_AGAIN = 1.0
"""Seconds between two attempts to have an address."""


class ElectionPort:
    """Listens at ``addresses()`` for the mesh (``QuorumCnxManager.Listener``).

    An address that is still held by what ran before is tried again, ``attempts`` times in all (0: for ever).
    """

    def __init__(
        self, mesh: Mesh, host: Host, addresses: Callable[[], Sequence[Address]], *, attempts: int
    ) -> None:
        self._mesh, self._host, self._addresses, self._attempts = mesh, host, addresses, attempts
        self._changed = trio.Event()

    def configuration_changed(self) -> None:
        """The member may have another address now."""
        self._changed.set()

    async def run(
        self,
        *,
        listeners: Sequence[Listener] | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; ready when it listens.  Listeners that are given stay where they are.

        Raises OSError when no address can be had.
        """
        if listeners is not None:
            await self._mesh.run(listeners, task_status=task_status)
            return
        here = self._addresses()
        opened, missing = await self._listen(here)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._mesh.run, ())
            task_status.started()
            while True:
                # The member may be given another address while it lives (``restartLeaderElection``).
                await self._serve_until_moved(here, opened, missing)
                here = self._addresses()
                opened, missing = await self._listen(here)

    async def _serve_until_moved(
        self, here: Sequence[Address], opened: Sequence[Listener], missing: Mapping[Address, OSError]
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mesh.listen, opened)
            for address, failure in missing.items():
                nursery.start_soon(self._try_again, address, failure)
            while self._addresses() == here:
                self._changed = trio.Event()
                await self._changed.wait()
            nursery.cancel_scope.cancel()

    async def _listen(self, addresses: Sequence[Address]) -> tuple[list[Listener], dict[Address, OSError]]:
        """One of these at least, and why those could not be had that are missing yet."""
        assert addresses, "a member of no configuration needs open listeners"
        attempts = 0
        while True:
            opened, missing = open_listeners(self._host, addresses)
            for address, error in missing.items():
                logger.warning("cannot listen for elections on %s: %s", address, error)
            if opened:
                return opened, missing
            attempts += 1
            if attempts == self._attempts:
                raise next(iter(missing.values()))
            await trio.sleep(_AGAIN)

    async def _try_again(self, address: Address, failure: OSError) -> None:
        """Another one is listened on meanwhile."""
        attempts = 1
        while attempts != self._attempts:
            await trio.sleep(_AGAIN)
            attempts += 1
            opened, missing = open_listeners(self._host, [address])
            if opened:
                logger.info("listening for elections on %s as well", address)
                await self._mesh.listen(opened)
            failure = missing[address]
        logger.error("nobody can reach this member at %s for elections: %s", address, failure)
