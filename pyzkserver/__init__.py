"""A ZooKeeper server in Python that runs embedded, in process, and starts in milliseconds."""

from ._version import __version__

TYPE_CHECKING = (
    False  # type checkers know better; importing typing would be nearly all that this module costs
)
if TYPE_CHECKING:
    from .config import Config, load
    from .errors import ConfigError, ErrorCode, PyzkserverError, ZooKeeperError
    from .server import RunningServer, serve
    from .serving.port import PortUnavailable
    from .testing.server import Server

__all__ = [
    "Config",
    "ConfigError",
    "ErrorCode",
    "PortUnavailable",
    "PyzkserverError",
    "RunningServer",
    "Server",
    "ZooKeeperError",
    "__version__",
    "load",
    "serve",
]

# Where each name comes from.  Imported when first asked for, so that ``import pyzkserver`` costs nothing.
_HOMES = {
    "Config": "config",
    "ConfigError": "errors",
    "ErrorCode": "errors",
    "PortUnavailable": "serving.port",
    "PyzkserverError": "errors",
    "RunningServer": "server",
    "Server": "testing.server",
    "ZooKeeperError": "errors",
    "load": "config",
    "serve": "server",
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
