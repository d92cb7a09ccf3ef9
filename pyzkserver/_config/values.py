"""How the value of a setting is read from text and checked as a keyword argument.

Each kind of value knows what it allows, in words, so that every refusal can say it.  Which setting has
which kind is in ``settings.py``.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol

__all__ = [
    "DIGEST_ALGORITHMS",
    "FOUR_LETTER_WORDS",
    "LONG_MAX",
    "Boolean",
    "Choice",
    "DigestAlgorithm",
    "Directory",
    "Fraction",
    "Host",
    "Kind",
    "Names",
    "Numbered",
    "Text",
    "Whole",
    "Words",
    "parse_integer",
]

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

# All that Apache 3.9 answers to (FourLetterCommands).
FOUR_LETTER_WORDS = frozenset(
    {"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro"}
    | {"mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"}
)

# Java's names of message digests, without the hyphens that Java makes optional, and hashlib's.
DIGEST_ALGORITHMS = {
    "MD5": "md5",
    "SHA": "sha1",
    "SHA1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "SHA3224": "sha3_224",
    "SHA3256": "sha3_256",
    "SHA3384": "sha3_384",
    "SHA3512": "sha3_512",
}


class Kind(Protocol):
    """``parse`` takes text, ``check`` a keyword's value; both raise ValueError for what is not allowed."""

    @property
    def allowed(self) -> str:
        """Completes "must be …"."""

    @property
    def allowed_keyword(self) -> str:
        """The same for a keyword argument, where Python's spelling differs."""

    def parse(self, text: str) -> object: ...

    def check(self, value: object) -> object: ...


class Whole:
    """An integer.  ``decoded``: in the syntax of Java's Integer.decode, as system properties are read.

    ``floor``: smaller values are allowed, and raised to it with a note, as Apache does.
    ``unset``: a value below ``low`` that stands for "compute a default".
    """

    def __init__(
        self,
        low: int = 0,
        high: int = INT_MAX,
        *,
        decoded: bool = False,
        floor: int | None = None,
        unset: int | None = None,
    ) -> None:
        self.low, self.high, self.floor, self.unset, self._decoded = low, high, floor, unset, decoded
        self.allowed = f"a whole number from {low} to {high}"
        if unset is not None:
            self.allowed += f" (or {unset} for the default)"

    @property
    def allowed_keyword(self) -> str:
        return self.allowed

    def parse(self, text: str) -> int:
        value = decode_integer(text) if self._decoded else parse_integer(text)
        self.check(value)
        return value  # as it stands: who takes it tells when ``check`` raises it

    def check(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError
        if value == self.unset:
            return value
        if self.floor is not None:
            value = max(value, self.floor)
        if not self.low <= value <= self.high:
            raise ValueError
        return value


def parse_integer(text: str) -> int:
    """Integer.parseInt: decimal digits with an optional sign, and nothing else (int() takes more)."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError
    return int(text)


def decode_integer(text: str) -> int:
    """Integer.decode: as parse_integer, or hexadecimal after 0x, 0X or #, or octal after a 0."""
    match = re.fullmatch(r"([+-]?)(?:(?:0[xX]|#)([0-9a-fA-F]+)|0([0-7]+)|([1-9][0-9]*|0))", text)
    if match is None:
        raise ValueError
    sign, hexadecimal, octal, decimal = match.groups()
    if hexadecimal is not None:
        magnitude = int(hexadecimal, 16)
    else:
        magnitude = int(octal, 8) if octal is not None else int(decimal)
    return -magnitude if sign == "-" else magnitude


class Fraction:
    """A number up to ``high``; whatever is below 0 means the same."""

    def __init__(self, high: float) -> None:
        self._high = high
        self.allowed = self.allowed_keyword = f"a number from 0 to {high:g}, or -1"

    def parse(self, text: str) -> float:
        return self.check(float(text))

    def check(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not value <= self._high:
            raise ValueError
        return float(value)


class Boolean:
    """true or false in any case, or another pair of words in exactly that spelling."""

    allowed_keyword = "True or False"

    def __init__(self, yes: str = "true", no: str = "false") -> None:
        self._words = {yes: True, no: False}
        self._any_case = yes == "true"  # parseBoolean ignores case; yes and no are compared as they are
        self.allowed = f"{yes} or {no}"

    def parse(self, text: str) -> bool:
        value = self._words.get(text.lower() if self._any_case else text)
        if value is None:
            raise ValueError
        return value

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value


class Choice:
    """One of a few words, in any case."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.allowed = self.allowed_keyword = " or ".join(word or "empty" for word in words)

    def parse(self, text: str) -> str:
        return self.check(text)

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value.lower() not in self._words:
            raise ValueError
        return value.lower()


class Text:
    """Any text; as a keyword also None, where that is the default."""

    def __init__(self, *, optional: bool = True) -> None:
        self._optional = optional
        self.allowed = "text"
        self.allowed_keyword = "a str or None" if optional else "a str"

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> str | None:
        if isinstance(value, str) or (value is None and self._optional):
            return value
        raise ValueError


class Directory:
    """A path, which need not exist."""

    allowed: ClassVar[str] = "a path"
    allowed_keyword: ClassVar[str] = "a path or None"

    def parse(self, text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        return Path(text)

    def check(self, value: object) -> Path | None:
        if value is None:
            return None
        if not isinstance(value, str | os.PathLike):
            raise ValueError
        return self.parse(os.fspath(value))


class Host:
    """A name or an address to listen on; the brackets that an IPv6 address may have are dropped."""

    allowed: ClassVar[str] = "a host name or an IP address, without a port"
    allowed_keyword: ClassVar[str] = allowed

    def parse(self, text: str) -> str:
        return self.check(text)

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        host = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        if not re.fullmatch(r"[^\s:\[\]/]+|[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*(?:%\S+)?", host):
            raise ValueError
        return host


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


class Words:
    """The four-letter words that are answered: some of them, or * for all."""

    allowed: ClassVar[str] = f"* or, separated by commas, any of {' '.join(sorted(FOUR_LETTER_WORDS))}"
    allowed_keyword: ClassVar[str] = f'a set of "*" or any of {" ".join(sorted(FOUR_LETTER_WORDS))}'

    def parse(self, text: str) -> frozenset[str]:
        """Words of other releases do no harm (``FourLetterCommands.isEnabled``): they are left out."""
        return self.check([word for word in _split(text) if word not in self.of_others(text)])

    def of_others(self, text: str) -> list[str]:
        """Those of them that are four-letter words, but none of ours."""
        others = (word for word in _split(text) if word not in FOUR_LETTER_WORDS)
        return [word for word in others if re.fullmatch("[a-z]{4}", word)]

    def check(self, value: object) -> frozenset[str]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError
        words = frozenset(value)
        if not words <= FOUR_LETTER_WORDS | {"*"}:
            raise ValueError
        # zkServer.sh asks with srvr, so it is answered whatever the list says.
        return FOUR_LETTER_WORDS if "*" in words else words | {"srvr"}


class Names:
    """Names separated by commas; which of them exist is for the reader to know."""

    allowed: ClassVar[str] = "names separated by commas"
    allowed_keyword: ClassVar[str] = "a tuple of str"

    def parse(self, text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())

    def check(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError
        names = tuple(value)
        if not all(isinstance(name, str) for name in names):
            raise ValueError
        return names


class DigestAlgorithm:
    """A message digest by the name that Java gives it, kept as it was written."""

    allowed: ClassVar[str] = (
        "MD5, SHA1, SHA-224, SHA-256, SHA-384, SHA-512, SHA3-224, SHA3-256, SHA3-384 or SHA3-512"
    )
    allowed_keyword: ClassVar[str] = allowed

    def parse(self, text: str) -> str:
        return self.check(text)

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value.upper().replace("-", "") not in DIGEST_ALGORITHMS:
            raise ValueError
        return value


class Numbered:
    """What ``server.N`` or ``group.N`` lines say, as pairs of N and the text, in the order of N.

    From a file the lines come one by one, so ``parse`` checks one line's text.
    """

    def __init__(self, form: str, pattern: str) -> None:
        self._pattern = re.compile(pattern, re.IGNORECASE)
        self.allowed = form
        self.allowed_keyword = f"a tuple of (number, text) pairs, each text {form}"

    def parse(self, text: str) -> str:
        if not self._pattern.fullmatch(text):
            raise ValueError
        return text

    def check(self, value: object) -> tuple[tuple[int, str], ...]:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError
        pairs = []
        for pair in value:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], int)):
                raise ValueError
            if not isinstance(pair[1], str):
                raise ValueError
            pairs.append((pair[0], self.parse(pair[1])))
        return tuple(sorted(pairs))
