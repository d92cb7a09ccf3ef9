"""Servers for tests: hosted for code of any kind, with contents, a clock and faults in the test's hands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case import ZooKeeperMixin
    from .clients import KazooMissing, kazoo_client
    from .contents import Contents, ContentsError, State, Tree, Znode
    from .ensemble import Ensemble, EnsembleMember, NotFormed
    from .faults.rule import NeverHit, Rule
    from .recording.exchange import Event, Exchange
    from .server import Server
    from .views import NodeView, SessionView, WatchView

__all__ = [
    "Contents",
    "ContentsError",
    "Ensemble",
    "EnsembleMember",
    "Event",
    "Exchange",
    "KazooMissing",
    "NeverHit",
    "NodeView",
    "NotFormed",
    "Rule",
    "Server",
    "SessionView",
    "State",
    "Tree",
    "WatchView",
    "Znode",
    "ZooKeeperMixin",
    "kazoo_client",
]

# Where each name comes from.  Imported when first asked for: the pytest plugin is in here, and costs nothing.
_HOMES = {
    "Contents": "contents",
    "ContentsError": "contents",
    "Ensemble": "ensemble",
    "EnsembleMember": "ensemble",
    "Event": "recording.exchange",
    "Exchange": "recording.exchange",
    "KazooMissing": "clients",
    "NeverHit": "faults.rule",
    "NodeView": "views",
    "NotFormed": "ensemble",
    "Rule": "faults.rule",
    "Server": "server",
    "SessionView": "views",
    "State": "contents",
    "Tree": "contents",
    "WatchView": "views",
    "ZooKeeperMixin": "case",
    "Znode": "contents",
    "kazoo_client": "clients",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
