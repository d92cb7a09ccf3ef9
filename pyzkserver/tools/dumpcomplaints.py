"""What is wrong with a dump, and where: so many complaints at once that one reading is enough to mend it.

What may stand where is said in ``dumpreader.py``.
"""

import difflib
from typing import Any, Final

from pyzkserver.errors import PyzkserverError

from .document import Doubled

__all__ = ["Complaints", "NotADump", "Place", "words"]

_MOST: Final = 20


class NotADump(PyzkserverError):
    """What was read says nothing that could be restored; each of ``reasons`` is a place and what is wrong."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(reasons)
        self.reasons = reasons


# Where something stands: the place of what it is in, and its name there.  Only put into words when asked for.
Place = tuple[Any, str] | None


def words(place: Place) -> str:
    """Where it is, for people: ``$.root.children.app``."""
    names: list[str] = []
    while place is not None:
        place, name = place
        names.append(f".{name}" if name.isidentifier() else f'["{name}"]')
    return "$" + "".join(reversed(names))


class Complaints:
    """What is wrong, as far as people want to read it at once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def add(self, place: Place, reason: str) -> None:
        """Raises NotADump when it is enough."""
        self.reasons.append(f"{words(place)}: {reason}")
        if len(self.reasons) >= _MOST:
            self.reasons.append("and perhaps more")
            raise NotADump(self.reasons)

    def value(self, place: Place, found: Any, allowed: object) -> None:
        """Something stands there that may not."""
        shown = repr(found)
        self.add(place, f"{shown if len(shown) < 80 else shown[:80] + '…'} is not {allowed}")

    def names(self, place: Place, form: Any, known: tuple[str, ...]) -> bool:
        """Whether this is an object that holds nothing but these names."""
        if not isinstance(form, dict):
            self.value(place, form, f"an object with {', '.join(known)}")
            return False
        if isinstance(form, Doubled):
            self.add(place, f"{form.name!r} stands there twice")
        for name in form:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
                self.add(place, f"{name!r} is unknown here: {hint}")
        return True
