"""How values are written for people and in JSON, and how they are read again: zxids, times, data, ACLs, owners.

Both directions of each form stand together.  What cannot be read raises ValueError, which says what is allowed.
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from pyzkserver.state.node import CONTAINER_OWNER, NodeKind, kind_of, ttl_of, ttl_owner
from pyzkserver.wire.records import ACL, Id

__all__ = [
    "acl_form",
    "acl_text",
    "base64_of",
    "counted",
    "data_form",
    "data_text",
    "hex64",
    "owner_fields",
    "path_text",
    "read_acl",
    "read_container",
    "read_data",
    "read_hex64",
    "read_int",
    "read_time",
    "read_ttl",
    "size_text",
    "time_form",
]

_LONG_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


# --- numbers ------------------------------------------------------------------------------------------------


def hex64(value: int) -> str:
    """A zxid or a session's id, as Apache's tools and logs write it."""
    return f"0x{value & _LONG_MASK:x}"


def read_hex64(form: Any) -> int:
    """``"0x1a"``, or the number itself; as Java's long."""
    value = form
    if isinstance(form, str) and form[:2].lower() == "0x" and "_" not in form:
        try:
            value = int(form, 16)
        except ValueError:
            pass
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value <= _LONG_MASK:
        raise ValueError('a hexadecimal number of up to 64 bits such as "0x1a"')
    return value - (1 << 64) if value >> 63 > 0 else value


def read_int(form: Any, least: int = -(1 << 31)) -> int:
    """A whole number of 32 bits."""
    if isinstance(form, bool) or not isinstance(form, int) or not least <= form < 1 << 31:
        raise ValueError(f"a whole number from {least} to {(1 << 31) - 1}")
    return form


def counted(count: int, noun: str) -> str:
    """``1 session``, ``2 sessions``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_text(size: int) -> str:
    """Bytes, for people."""
    if size < 10_000:
        return f"{size} bytes"
    if size < 10_000_000:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB"


# --- times --------------------------------------------------------------------------------------------------

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_FIRST_SECOND: Final = -62_135_596_800  # of the year 1
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


def time_form(ms: int) -> str | int:
    """Milliseconds since 1970 as ``2024-05-01T12:00:00.123Z``; as the number itself beyond the year 9999."""
    seconds, rest = divmod(ms, 1000)
    if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
        return ms
    return f"{_second_text(seconds)}.{rest:03}Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def read_time(form: Any) -> int:
    """Milliseconds since 1970; as text, or as the number itself."""
    if isinstance(form, int) and not isinstance(form, bool) and -(1 << 63) <= form < 1 << 63:
        return form
    moment = form  # YAML has times of its own, where the quotes are left out
    if isinstance(form, str):
        try:
            moment = datetime.fromisoformat(form)
        except ValueError:
            pass
    if not isinstance(moment, datetime) or (moment.tzinfo is None and isinstance(form, str)):
        raise ValueError('a time such as "2024-05-01T12:00:00.123Z", or milliseconds since 1970')
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MILLISECOND


# --- data and paths -----------------------------------------------------------------------------------------


def data_form(data: bytes | None) -> str | dict[str, str] | None:
    """Data as text where it is UTF-8, as ``{"base64": …}`` where not; null data as null."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64_of(data)}


def base64_of(data: bytes) -> str:
    """As it stands in ``{"base64": …}``."""
    return base64.b64encode(data).decode()


def read_data(form: Any) -> bytes | None:
    """Any of these."""
    if isinstance(form, str):
        try:
            return form.encode()
        except UnicodeEncodeError:
            raise ValueError("text without halves of surrogate pairs") from None
    if form is None:
        return None
    if isinstance(form, dict) and list(form) == ["base64"] and isinstance(form["base64"], str):
        try:
            return base64.b64decode(form["base64"], validate=True)
        except (binascii.Error, ValueError):
            pass
    raise ValueError('text, null, or {"base64": "…"}')


def data_text(data: bytes | None, limit: int | None = 60) -> str:
    """Data in one line for people: how much it is, and how it begins."""
    if not data:
        return "null" if data is None else "empty"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        shown = data.hex() if limit is None or len(data) <= limit // 2 else f"{data[: limit // 2].hex()}…"
    else:
        shown = repr(text) if limit is None or len(text) <= limit else f"{text[:limit]!r}…"
    return f"{counted(len(data), 'byte')} {shown}"


def path_text(path: str | None) -> str:
    """A path in one line, unmistakably."""
    return path if path and path.isprintable() and " " not in path else repr(path)


# --- ACLs ---------------------------------------------------------------------------------------------------

_LETTERS: Final = {"c": 4, "d": 8, "r": 1, "w": 2, "a": 16}  # in the order of zkCli's getAcl
_ALL: Final = 31
_ACL_ALLOWED: Final = (
    'entries such as "world:anyone:cdrwa" or "digest:user:hash:rw" (scheme, id, and permissions out of cdrwa),'
    ' or {"scheme": …, "id": …, "perms": 31}'
)


def acl_form(acl: Iterable[ACL]) -> list[Any]:
    """An ACL as ``scheme:id:cdrwa``, as setAcl of zkCli takes it; as an object what does not fit that."""
    return [_entry_form(entry) for entry in acl]


def _entry_form(entry: ACL) -> Any:
    scheme, id_ = entry.id.scheme, entry.id.id
    if scheme is None or id_ is None or ":" in scheme or entry.perms & ~_ALL:
        return {"scheme": scheme, "id": id_, "perms": entry.perms}
    letters = "".join(letter for letter, bit in _LETTERS.items() if entry.perms & bit)
    return f"{scheme}:{id_}:{letters}"


def acl_text(acl: Iterable[ACL]) -> str:
    """An ACL in one line for people."""
    return (
        ",".join(path_text(form) if isinstance(form, str) else str(form) for form in acl_form(acl)) or "none"
    )


def read_acl(form: Any) -> list[ACL]:
    """A list of either."""
    if not isinstance(form, list):
        raise ValueError(f"a list of {_ACL_ALLOWED}")
    return [_read_entry(entry) for entry in form]


def _read_entry(form: Any) -> ACL:
    if isinstance(form, str) and form.count(":") >= 2:
        scheme, _, rest = form.partition(":")
        id_, _, letters = rest.rpartition(":")
        if set(letters) <= set(_LETTERS):
            return ACL(sum(_LETTERS[letter] for letter in set(letters)), Id(_told(scheme), _told(id_)))
    if isinstance(form, dict) and set(form) == {"scheme", "id", "perms"}:
        return ACL(read_int(form["perms"]), Id(_told(form["scheme"]), _told(form["id"])))
    raise ValueError(_ACL_ALLOWED)


def _told(text: Any) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str) or any("\ud800" <= c <= "\udfff" or c > "\uffff" for c in text):
        raise ValueError(
            "as scheme and id text or null, without characters beyond U+FFFF, which are not kept"
        )
    return text


# --- what kind of node it is --------------------------------------------------------------------------------


def owner_fields(owner: int) -> dict[str, Any]:
    """What a stored ephemeralOwner says, as a field: ephemeralOwner, ttl (in ms), container, or none."""
    if owner == 0:
        return {}
    if owner == CONTAINER_OWNER:
        return {"container": True}
    if kind_of(owner, extended=True) is NodeKind.TTL and ttl_of(owner):
        return {"ttl": ttl_of(owner)}
    return {"ephemeralOwner": hex64(owner)}


def read_ttl(form: Any) -> int:
    """The ephemeralOwner for a ttl."""
    owner = ttl_owner(form) if isinstance(form, int) and not isinstance(form, bool) else None
    if owner is None:
        raise ValueError(f"milliseconds from 1 to {(1 << 40) - 1}")
    return owner


def read_container(form: Any) -> int:
    """The ephemeralOwner for ``"container": true``."""
    if not isinstance(form, bool):
        raise ValueError("true or false")
    return CONTAINER_OWNER if form else 0
