"""Where learners come to, the quorum port or observerMasterPort, and how many may stand there unknown.

What is said on a connection is in ``learner_handler.py``.
"""

import logging
from collections.abc import Sequence
from typing import NoReturn

import trio

from .learner_handler import LearnerHandler
from .listening import Listener, open_listeners, where_to_listen
from .local import Local
from .masters import LearnerMaster
from .members import Address

__all__ = ["LearnerPort", "open_learner_port"]

logger = logging.getLogger("pyzkserver.quorum")

STRANGERS = 100
"""Connections that have not come up to date, one for each member not counted."""


def open_learner_port(local: Local, port: int = 0) -> list[Listener]:
    """Listen where the configuration says, or there on another port.  Raises OSError where that can be done nowhere.

    One of several addresses is enough (``Leader.createServerSocket``).  A member that the configuration does not
    name is where it was started to be.
    """
    own = local.members.get(local.sid) or local.configured
    if own is None:
        raise OSError("this member is not in the configuration, which says where to listen")
    addresses = dict.fromkeys(Address(address.host, port or address.port) for address in own.quorum_addresses)
    wanted = where_to_listen(addresses, everywhere=local.config.quorum_listen_on_all_ips)
    opened, missing = open_listeners(local.host, wanted)
    reasons = [f"{address} cannot be listened on: {error}" for address, error in missing.items()]
    if not opened:
        raise OSError("; ".join(reasons))
    for reason in reasons:
        local.complaints.say("learners reach this member at its other addresses only: %s", reason)
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
