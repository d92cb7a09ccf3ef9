"""What other members and strangers do wrong, logged without letting them fill the log."""

import logging

import trio

__all__ = ["Complaints"]

QUIET_S = 60.0


class Complaints:
    """Says each kind of complaint (``text`` before it is filled in) once a minute, with how many came since."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, float] = {}  # as many as there are texts in the code
        self._unsaid: dict[str, int] = {}

    def say(self, text: str, *args: object) -> None:
        now = trio.current_time()
        if now < self._said.get(text, now) + QUIET_S and text in self._said:
            self._unsaid[text] = self._unsaid.get(text, 0) + 1
            return
        self._said[text] = now
        unsaid = self._unsaid.pop(text, 0)
        self._log.warning(text + (f" ({unsaid} more since this was last said)" if unsaid else ""), *args)
