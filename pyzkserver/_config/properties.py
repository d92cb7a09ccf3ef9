"""The syntax of java.util.Properties files: text → keys, values and where each stands.

Only the syntax: which keys exist and what their values mean is in the sibling modules.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyzkserver.errors import ConfigError

__all__ = ["Setting", "parse_properties"]


class Setting(NamedTuple):
    """One key of a file, with the line it starts on (for messages); or of no file, with ``source`` empty."""

    key: str
    value: str
    source: str
    line: int

    @property
    def place(self) -> str:
        """For the beginning of a message about this key."""
        return f"{self.source}:{self.line}: {self.key}" if self.source else self.key


_BLANKS = " \t\f"
# A key ends at the first blank, "=" or ":" that no backslash escapes; one separator may stand amid blanks.
_KEY = re.compile(r"((?:[^\\=: \t\f]|\\.)*)[ \t\f]*(?:[=:][ \t\f]*)?", re.DOTALL)
_ESCAPE = re.compile(r"\\(u.{0,4}|.)", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse_properties(text: str, source: str) -> dict[str, Setting]:
    """Read ``text`` as ``Properties.load`` does; a key that stands twice has its last value.

    Raises ConfigError where a ``\\u`` is not followed by four hex digits.
    """
    settings: dict[str, Setting] = {}
    for number, line in _logical_lines(text):
        match = _KEY.match(line)
        assert match is not None  # the pattern matches the empty string
        try:
            key, value = _unescape(match[1]), _unescape(line[match.end() :])
        except ValueError as error:
            raise ConfigError(f"{source}:{number}: {error}") from None
        settings.pop(key, None)  # the order of the dictionary is the order of the lines that count
        settings[key] = Setting(key, value, source, number)
    return settings


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The number of each line that is no comment, and the line with what its trailing backslash continues."""
    # Not splitlines(): U+0085 or a vertical tab ends no line in a properties file.
    natural = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
    for number, line in natural:
        line = line.lstrip(_BLANKS)
        if line in ("", "\\") or line[0] in "#!":  # a continued nothing is nothing
            continue
        while _continues(line):
            _, following = next(natural, (0, ""))
            line = line[:-1] + following.lstrip(_BLANKS)
        yield number, line


def _continues(line: str) -> bool:
    """An even number of backslashes at the end are escaped backslashes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _unescape(text: str) -> str:
    return _ESCAPE.sub(_unescape_one, text) if "\\" in text else text


def _unescape_one(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] != "u":
        return _CONTROL.get(escape, escape)
    if not re.fullmatch("u[0-9a-fA-F]{4}", escape):
        raise ValueError(f"{match[0]!r} is not an escape: after \\u come four hex digits")
    return chr(int(escape[1:], 16))
