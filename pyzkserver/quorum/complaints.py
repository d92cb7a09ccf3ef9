"""What other members and strangers do wrong, logged without letting them fill the log."""

import logging

import trio

__all__ = ["Complaints"]

QUIET_S = 60.0


class Complaints:
    """Says each kind of complaint once a minute, with how many came since.

    A kind is ``text`` before it is filled in, of a certain level, ``about`` a certain member or nobody.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[tuple[str, int, int | None], float] = {}
        """As many as there are texts in the code, times members."""
        self._unsaid: dict[tuple[str, int, int | None], int] = {}

    def say(self, text: str, *args: object, level: int = logging.WARNING, about: int | None = None) -> None:
        """``about`` must be a member's id, or None: of strangers there may be any number."""
        now = trio.current_time()
        kind = text, level, about
        if now < self._said.get(kind, now) + QUIET_S and kind in self._said:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._said[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        more = f" ({unsaid} more since this was last said)" if unsaid else ""
        self._log.log(level, text + more, *args)
