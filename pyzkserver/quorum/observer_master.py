"""A follower in the leader's place: it brings observers to its history, and passes on what it hears and they ask.

Tasks that wait.  What observers are told is in ``relaying.py``, the conversation with one of them in
``learner_handler.py``, where it is the same as with a leader.
"""

import logging
from typing import NoReturn

import trio

from .ends import LearnerRefused
from .following import Following
from .learner_handler import LearnerHandler
from .learner_port import LearnerPort, open_learner_port
from .listening import Listener, close_all
from .local import Local
from .masters import Registry
from .members import Members
from .relaying import Relaying
from .upstream import Upstream

__all__ = ["ObserverMaster"]

logger = logging.getLogger("pyzkserver.quorum")

_LOOK_AGAIN = 0.01
"""Seconds."""
_FAREWELL = 0.05
"""Seconds."""
_COUNTER = 0xFFFF_FFFF
_MOST_QUESTIONS = 10_000
_MOST_BYTES = 96 << 20
"""While as much waits for the leader, observers are not read from.  64 MiB of it may be of this member's own clients
(``serving.under_way``), who must not keep the observers out."""


class ObserverMaster(Registry):
    """For the time in which one leader is followed (``Follower.followLeader``).  Observers cannot harm that."""

    observers_only = True
    port = "observerMasterPort"

    def __init__(self, local: Local, epoch: int, following: Following, upstream: Upstream) -> None:
        super().__init__()
        self.local = local
        self.epoch = epoch
        self.synchronizing = {"diffs": 0, "snapshots": 0}
        self.telling = Relaying(following, local.soon)
        self._upstream = upstream
        config = local.config
        # One packet of the largest kind must not be too much.
        least = 2 * (config.jute_max_buffer + config.jute_max_buffer_extra_size)
        self.max_queued = max(config.observer_master_size_limit, least)

    def announced(self, *, voting: bool) -> Members:
        """What is in force here; a reconfiguration that is decided later follows as such."""
        return self.local.members

    # tasks

    async def run(self) -> NoReturn:
        """Serve observers until cancelled."""
        listeners = await self._listen()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(LearnerPort(self).serve, listeners)
                await self._ping()
        finally:
            await close_all(listeners)
        raise AssertionError("it ends by being cancelled")

    async def _listen(self) -> list[Listener]:
        """Where the port is taken, this member follows all the same; it may become free."""
        local = self.local
        port = local.config.observer_master_port
        told = False
        while True:
            try:
                listeners = open_learner_port(local, port)
            except OSError as error:
                if not told:
                    logger.warning("no observer can connect to this member (observerMasterPort): %s", error)
                    told = True
                await local.host.sleep(1)
                continue
            logger.info("observers can connect to port %d", port)
            return listeners

    async def _ping(self) -> NoReturn:
        """Twice a tick, as the leader does."""
        half = self.local.config.tick_time / 2000
        while True:
            await self.local.host.sleep(half)
            for handler in list(self.handlers):
                handler.ping()

    async def farewell(self) -> None:
        """Let observers hear the last word, if they take it soon.

        Shielded, for what ends this role is decided: that the old leader hangs up meanwhile is no loss of it.
        """
        with trio.move_on_after(_FAREWELL, shield=True):
            while not all(handler.told for handler in self.handlers if handler.in_broadcast):
                await self.local.host.sleep(_FAREWELL / 50)

    # what a learner's conversation needs

    async def epoch_for(self, sid: int, accepted: int) -> int:
        """The epoch that this member is in: nobody has to be waited for."""
        return self.epoch

    async def accept_epoch(self, sid: int, current: int, last_zxid: int) -> None:
        """An observer that comes from another member may have heard more than this one yet: wait for that.

        What it heard in this epoch is decided, and will come.  (Apache's takes it back from the observer, TRUNC,
        and sends it once more.)  Raises LearnerRefused if it does not come.
        """
        if last_zxid >> 32 != self.epoch or not last_zxid & _COUNTER:
            return  # (an epoch's first number is no transaction's: it stands for all that came before)
        tree = self.telling.replica.tree
        with trio.move_on_after(self.local.sync_seconds):
            while tree.last_zxid < last_zxid:
                await self.local.host.sleep(_LOOK_AGAIN)
            return
        raise LearnerRefused(
            f"it has 0x{last_zxid:x}, and this member has heard of 0x{tree.last_zxid:x} only so far"
        )

    async def holds_history(self, sid: int, zxid: int) -> None:
        """Nobody has to be waited for."""

    def unregister(self, handler: LearnerHandler) -> None:
        """An observer's connection ended."""
        super().unregister(handler)
        self.telling.drop(handler)

    @property
    def busy(self) -> bool:
        """Whether so much waits for the leader that observers must not be read from."""
        return self._upstream.waiting > _MOST_BYTES or self.telling.waiting > _MOST_QUESTIONS

    async def until_ready(self) -> None:
        """Wait until the leader has taken and answered some of it."""
        while self.busy:
            await self.local.host.sleep(_LOOK_AGAIN)
