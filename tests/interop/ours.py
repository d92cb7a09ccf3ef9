"""pyzkserver as the tests of this folder start it: in this process, and as a command."""

from __future__ import annotations

from typing import Any

import pyzkserver

from .apache import FLAVORS, SUPER_DIGEST
from .conversation import Scenario, play


def our_server(flavor: str) -> pyzkserver.Server:
    """A server in this process, configured like Apache's server of that flavor."""
    defaults = {"super_digest": SUPER_DIGEST, "extended_types_enabled": False}
    keywords: dict[str, Any] = {**defaults, **FLAVORS[flavor].keywords}
    return pyzkserver.Server(**keywords)


def our_transcript(scenario: Scenario, release: str = "3.9") -> str:
    with our_server(scenario.server) as server:
        return play(scenario, ("127.0.0.1", server.port), 0, release, tidy=False)
