"""Servers for tests: hosted for code of any kind, with contents, a clock and faults in the test's hands."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .case import ZooKeeperMixin
    from .clients import KazooMissing, kazoo_client
    from .contents import Contents, ContentsError, State, Tree, Znode
    from .ensemble import Ensemble, EnsembleMember, NotFormed
    from .faults.ensemble import EnsembleFaults
    from .faults.faults import Faults
    from .faults.rule import NeverHit, Rule
    from .recording.exchange import Event, Exchange
    from .recording.log import Recording
    from .server import Server
    from .views import NodeView, SessionView, WatchView

__all__ = [
    "Contents",
    "ContentsError",
    "Ensemble",
    "EnsembleFaults",
    "EnsembleMember",
    "Event",
    "Exchange",
    "Faults",
    "KazooMissing",
    "NeverHit",
    "NodeView",
    "NotFormed",
    "Recording",
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
    "EnsembleFaults": "faults.ensemble",
    "EnsembleMember": "ensemble",
    "Event": "recording.exchange",
    "Exchange": "recording.exchange",
    "Faults": "faults.faults",
    "KazooMissing": "clients",
    "NeverHit": "faults.rule",
    "NodeView": "views",
    "NotFormed": "ensemble",
    "Recording": "recording.log",
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


if not TYPE_CHECKING:  # which knows what there is, and would take any name for granted

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
