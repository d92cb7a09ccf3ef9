"""Where learners come to, the quorum port or observerMasterPort, and how many may stand there unknown.

What is said on a connection is in ``learner_handler.py``.
"""

import logging
from collections.abc import Sequence
from typing import NoReturn

import trio

from .learner_handler import LearnerHandler
from .local import Local
from .masters import LearnerMaster
from .members import Address

__all__ = ["LearnerPort", "Listener", "open_listeners"]

logger = logging.getLogger("pyzkserver.quorum")

STRANGERS = 100
"""Connections that have not come up to date, one for each member not counted."""

Listener = trio.abc.Listener[trio.abc.Stream]


def open_listeners(local: Local, port: int = 0) -> list[Listener]:
    """Listen where the configuration says (``Leader.createServerSocket``), or there on another port.

    A member that the configuration does not name is where it was started to be.  Raises OSError, naming the address
    that cannot be had, and holds none then.
    """
    own = local.members.get(local.sid) or local.configured
    if own is None:
        raise OSError("this member is not in the configuration, which says where to listen")
    everywhere = local.config.quorum_listen_on_all_ips
    wanted = dict.fromkeys(
        Address("0.0.0.0" if everywhere else address.host, port or address.port)
        for address in own.quorum_addresses
    )
    opened: list[Listener] = []
    try:
        for address in wanted:
            try:
                opened.append(local.host.open_listener(address.host, address.port))
            except OSError as error:
                raise OSError(f"{address} cannot be listened on: {error}") from None
    except OSError:
        for listener in opened:
            trio.lowlevel.spawn_system_task(trio.aclose_forcefully, listener)
        raise
    return opened


class LearnerPort:
    """Accepts learners for a leader or observer master.  ``_callers`` are connections, in the order they came."""

    def __init__(self, master: LearnerMaster) -> None:
        self._master = master
        self._local = master.local
        self._callers: dict[LearnerHandler, None] = {}

    async def serve(self, listeners: Sequence[Listener]) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> NoReturn:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                self._local.complaints.say("cannot accept a learner: %s", error)
                await self._local.host.sleep(0.1)
                continue
            self._make_room()
            handler = LearnerHandler(self._master, stream)
            self._callers[handler] = None
            nursery.start_soon(self._serve, handler)

    async def _serve(self, handler: LearnerHandler) -> None:
        try:
            await handler.run()
        finally:
            self._callers.pop(handler, None)

    def _make_room(self) -> None:
        """Where too many have not said who they are, who came first has had time to: a learner says it at once."""
        strangers, seen = [], set()
        for caller in self._callers:
            if caller.in_broadcast:
                continue
            if caller.sid in self._local.members and caller.sid not in seen:
                seen.add(caller.sid)
            else:
                strangers.append(caller)
        if len(strangers) >= STRANGERS:
            first = strangers[0]
            del self._callers[first]
            first.end(f"there are {len(strangers)} connections of which no learner has come")
