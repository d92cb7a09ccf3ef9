"""Every key that exists, by name.  Parsing, suggestions and docs/configuration.md are driven by this."""

from collections.abc import Iterable

from . import accepted, settings
from .keys import Key, Where

__all__ = ["FIELDS", "SECTIONS", "SILENT_PROPERTIES", "TABLE", "find", "names_of", "suggestion"]

SECTIONS: dict[str, tuple[Key, ...]] = {
    "Clients and sessions": settings.CLIENTS,
    "Requests and the tree": settings.REQUESTS,
    "Authentication": settings.AUTHENTICATION,
    "Storage": settings.STORAGE,
    "Ensembles": settings.ENSEMBLES + accepted.ENSEMBLES_ONLY,
    "Ours": settings.OURS,
    "Not there yet": accepted.NOT_YET,
    "Without a meaning here": accepted.NO_MEANING,
}

_ALL = tuple(key for section in SECTIONS.values() for key in section)
TABLE: dict[str, Key] = {key.name: key for key in _ALL}
# server.* and the like end in a name of the user's: "server." → the row.
_PREFIXES = {name[:-1]: key for name, key in TABLE.items() if name.endswith("*")}
FIELDS: dict[str, Key] = {key.field: key for key in _ALL if key.field}

# Start scripts pass these whoever the server is; nobody waits for an effect.
SILENT_PROPERTIES = (
    "zookeeper.log.",
    "zookeeper.root.logger",
    "zookeeper.console.",
    "zookeeper.tracelog.",
    "zookeeper.jmx.",
)


def find(name: str) -> Key | None:
    """The row for a name as zoo.cfg has it."""
    if name in TABLE:
        return TABLE[name]
    return next(
        (key for prefix, key in _PREFIXES.items() if name.startswith(prefix) and name != prefix), None
    )


def names_of(*where: Where) -> list[str]:
    """The keys that may be given there."""
    return [name for name, key in TABLE.items() if key.where in where]


def suggestion(name: str, among: Iterable[str]) -> str:
    """ " – did you mean …?", or nothing where no name is close."""
    import difflib  # only where something is refused anyway

    lowered = {candidate.lower(): candidate for candidate in among}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.7)
    return f" – did you mean {lowered[close[0]]}?" if close else ""
