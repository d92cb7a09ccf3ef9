"""Upkeep: sessions expire at whole ticks; emptied containers and overdue TTL nodes go, not too many at once."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from pyzkserver.host import Host
from pyzkserver.replica import upkeep
from pyzkserver.replica.upkeep import container_candidates, expire_sessions
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CloseSessionTxn

from .helpers import (
    EPHEMERAL,
    Ask,
    Client,
    HeldLog,
    House,
    create,
    create_container,
    create_ttl,
    delete,
    set_data,
)

LARGEST_TTL = 1_099_511_627_775


class Deaths(NullLog := object):  # type: ignore[misc, valid-type]
    """Placeholder."""
