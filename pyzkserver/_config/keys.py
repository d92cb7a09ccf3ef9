"""What a row of the table of settings is.  The rows are in ``settings.py`` and ``accepted.py``."""

from enum import Enum
from typing import NamedTuple

from .values import Kind, Text

__all__ = ["Key", "Where", "without_field"]


class Where(Enum):
    """Where a key may be given."""

    FILE = "zoo.cfg"
    PROPERTY = "zoo.cfg or -Dzookeeper.KEY"
    BARE = "zoo.cfg, -Dzookeeper.KEY or -DKEY"
    JVM = "-DKEY"
    OURS = "zoo.cfg or -DKEY (ours, not Apache's)"
    KEYWORD = "keyword only"


class Key(NamedTuple):
    """One row.  With ``field`` the value goes into Config.  Where a key is given a value that differs from
    the default, ``note`` is said, or it is ``refused`` with that reason."""

    name: str
    where: Where
    kind: Kind
    field: str | None = None
    about: str = ""
    note: str | None = None
    refused: str | None = None


_ANY_TEXT = Text()


def without_field(
    where: Where, names: str, note: str | None = None, *, kind: Kind = _ANY_TEXT, about: str = ""
) -> tuple[Key, ...]:
    """Rows for keys that are accepted and change nothing."""
    return tuple(Key(name, where, kind, None, about, note) for name in names.split())
