"""Access control: what an ACL permits to whom, which ACLs are valid, and the schemes world, auth, digest, ip.

An identity is a pair (scheme, id).  Connections gather them; this module only compares.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.wire.records import ACL, Id, Perms

__all__ = [
    "ADMIN",
    "CREATE",
    "DELETE",
    "OPEN_ACL",
    "READ",
    "READ_ONLY_ACL",
    "WRITE",
    "AccessRules",
    "Acl",
    "Identity",
    "check",
    "digest_of",
    "intern",
    "masked",
    "permits",
]

Identity: TypeAlias = tuple[str, str]

# Perms as plain numbers: an IntFlag's operators cost more than all else in answering a read.
READ, WRITE, CREATE, DELETE, ADMIN = (
    int(perm) for perm in (Perms.READ, Perms.WRITE, Perms.CREATE, Perms.DELETE, Perms.ADMIN)
)


class Acl(tuple[ACL, ...]):
    """The ACL of a node, as a tuple of its entries.  Immutable, so nodes share one."""

    world: int
    """The permissions that world:anyone has: one test answers most questions."""

    settled: bool
    """Whether any server takes it as it is: it speaks of world:anyone, once, and of nobody else."""

    def __new__(cls, entries: Iterable[ACL]) -> "Acl":
        self = super().__new__(cls, entries)
        self.world = 0
        for entry in self:
            if entry.id.scheme == "world" and entry.id.id == "anyone":
                self.world |= entry.perms
        self.settled = len(self) == 1 and self[0].id.scheme == "world" and self[0].id.id == "anyone"
        return self


_Key: TypeAlias = tuple[tuple[int, str | None, str | None], ...]

_shared: dict[_Key, Acl] = {}
_SHARED_LIMIT = 4096  # sharing only saves memory, so at the limit the table simply starts anew


def intern(entries: Iterable[ACL]) -> Acl:
    """An Acl of these entries, the same object for equal ones (as far as the table of them reaches)."""
    if type(entries) is Acl:
        return entries
    entries = tuple(entries)
    key = tuple((entry.perms, entry.id.scheme, entry.id.id) for entry in entries)
    found = _shared.get(key)
    if found is None:
        if len(_shared) >= _SHARED_LIMIT:
            _shared.clear()
        found = _shared[key] = Acl(entries)
    return found


OPEN_ACL = intern([ACL(int(Perms.ALL), Id("world", "anyone"))])
READ_ONLY_ACL = intern([ACL(READ, Id("world", "anyone"))])


def permits(acl: Acl, perms: int, identities: Iterable[Identity]) -> bool:
    """Whether any of ``perms`` is granted (``ZooKeeperServer.checkACL``)."""
    if acl.world & perms or not acl:
        return True
    for scheme, _ in identities:
        if scheme == "super":
            return True
    for entry in acl:
        if entry.perms & perms:
            wanted = entry.id.scheme
            for scheme, id_ in identities:
                if scheme == wanted and _matches(scheme, id_, entry.id.id or ""):
                    return True
    return False


def check(acl: Acl, perms: int, identities: Iterable[Identity], path: str | None) -> None:
    """Raise NO_AUTH unless any of ``perms`` is granted."""
    if not permits(acl, perms, identities):
        raise ZooKeeperError(ErrorCode.NO_AUTH, path)


def masked(acl: Acl) -> list[ACL]:
    """The ACL as shown to one who may not administer it: digests read ``user:x`` (``getACL`` in Apache)."""
    shown = []
    for entry in acl:
        if entry.id.scheme == "digest" and entry.id.id and ":" in entry.id.id:
            # Java's ":.*" stops at the end of a line; an id has none in practice, and so the rest goes.
            user = entry.id.id.partition(":")[0]
            entry = ACL(entry.perms, Id("digest", user + ":x"))
        shown.append(entry)
    return shown


class AccessRules:
    """What is configured of access control: which schemes exist, who is super, whether to look at all."""

    def __init__(
        self,
        *,
        skip: bool = False,
        super_digest: str | None = None,
        digest_algorithm: str = "sha1",
        digest_enabled: bool = True,
    ) -> None:
        self.skip = skip
        self.super_digest = super_digest
        self.digest_algorithm = digest_algorithm
        self.schemes = frozenset({"ip", "digest"} if digest_enabled else {"ip"})
        self._fixed: dict[_Key, Acl] = {}
        """What ``fix_up`` made of an ACL before, where that does not depend on who asks."""

    def fix_up(self, acl: Sequence[ACL] | None, identities: Iterable[Identity], path: str) -> Acl:
        """The ACL to store for the one that was asked for (``PrepRequestProcessor.fixupACL``).

        Doubles are dropped, ``auth`` becomes the caller's authenticated identities.  Raises INVALID_ACL.
        """
        if type(acl) is Acl and acl.settled:
            return acl
        if acl is None:
            raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
        key = tuple([(entry.perms, entry.id.scheme, entry.id.id) for entry in acl])
        known = self._fixed.get(key)
        if known is not None:
            return known
        fixed: list[ACL] = []
        for entry in _without_doubles(acl, path):
            scheme = entry.id.scheme
            if scheme == "auth":
                fixed += self._expand_auth(entry.perms, identities, path)
                continue
            if scheme is None:
                raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
            if entry.id.id is None and (scheme == "world" or scheme in self.schemes):
                # Apache trips over a null id and answers so.
                raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR, path)
            if not self._is_valid(scheme, entry.id.id or ""):
                raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
            fixed.append(entry)
        if not fixed:
            raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
        result = intern(fixed)
        if not any(entry.id.scheme == "auth" for entry in acl):  # that one depends on who asks
            if len(self._fixed) >= _SHARED_LIMIT:
                self._fixed.clear()
            self._fixed[key] = result
        return result

    def _expand_auth(self, perms: int, identities: Iterable[Identity], path: str) -> list[ACL]:
        expanded = [
            ACL(perms, Id(*who)) for who in identities if who[0] == "digest" and "digest" in self.schemes
        ]
        if not expanded:
            raise ZooKeeperError(ErrorCode.INVALID_ACL, path)
        return expanded

    def _is_valid(self, scheme: str, id_: str) -> bool:
        if scheme == "world":
            return id_ == "anyone"
        if scheme not in self.schemes:
            return False
        return _digest_is_valid(id_) if scheme == "digest" else _parse_network(id_) is not None

    def authenticate(self, scheme: str | None, auth: bytes | None, address: str) -> list[Identity] | None:
        """The identities that an auth packet proves, or None where it proves nothing."""
        if scheme == "ip":
            return [("ip", address)]
        if scheme != "digest" or "digest" not in self.schemes or auth is None:
            return None
        digest = digest_of(auth.decode("utf-8", "replace"), self.digest_algorithm)
        proven = [("digest", digest)]
        if digest == self.super_digest:
            proven.insert(0, ("super", ""))
        return proven


def digest_of(user_password: str, algorithm: str = "sha1") -> str:
    """``user:password`` → ``user:BASE64(digest)``, the digest being hashlib's of that name over both.

    ``DigestAuthenticationProvider.generateDigest``.
    """
    digest = hashlib.new(algorithm, user_password.encode("utf-8", "replace")).digest()
    return user_password.partition(":")[0] + ":" + base64.b64encode(digest).decode()


def _without_doubles(acl: Iterable[ACL], path: str) -> list[ACL]:
    unique: list[ACL] = []
    for entry in acl:
        if entry.id.scheme is None or entry.id.id is None:
            _compare_null(entry, unique, path)
        if entry not in unique:
            unique.append(entry)
    return unique


def _compare_null(entry: ACL, others: Iterable[ACL], path: str) -> None:
    # Apache's ACL.equals trips over a null scheme or id when it gets as far as comparing it.
    scheme = entry.id.scheme
    for other in others:
        if other.perms == entry.perms and scheme in (None, other.id.scheme):
            raise ZooKeeperError(ErrorCode.MARSHALLING_ERROR, path)


def _digest_is_valid(id_: str) -> bool:
    # Java's String.split drops empty strings at the end: "user:hash" and ":hash" are valid, "user:" is not.
    parts = id_.split(":")
    while parts and not parts[-1]:
        parts.pop()
    return len(parts) == 2


def _matches(scheme: str, id_: str, expression: str) -> bool:
    if scheme == "ip":
        return _ip_matches(id_, expression)
    return id_ == expression


def _ip_matches(address: str, expression: str) -> bool:
    network = _parse_network(expression)
    remote = _parse_address(address)
    if network is None or remote is None:
        return False
    (value, width), bits = network
    return remote[1] == width and remote[0] >> (width - bits) == value >> (width - bits)


_DECIMAL = re.compile(r"([+-]?)0*(\d{1,9})\Z")
_HEX = re.compile(r"[+-]?[0-9a-fA-F]+\Z")


def _parse_network(expression: str) -> tuple[tuple[int, int], int] | None:
    """``address[/bits]`` → ((value, width in bits), bits), or None (``IPAuthenticationProvider.isValid``)."""
    text, slash, mask = expression.partition("/")
    address = _parse_address(text)
    if address is None:
        return None
    bits = _parse_int(mask) if slash else address[1]
    return (address, bits) if bits is not None and 0 <= bits <= address[1] else None


def _parse_address(text: str) -> tuple[int, int] | None:
    """(value, width in bits).  As lenient as Apache: ``127.0.0.+1`` and ``127.0.0.01`` are addresses."""
    if ":" in text:
        return _parse_v6(text)
    parts = text.split(".")
    if len(parts) != 4:
        return None
    value = 0
    for part in parts:
        number = _parse_int(part)
        if number is None or not 0 <= number <= 255:
            return None
        value = value << 8 | number
    return value, 32


def _parse_int(text: str) -> int | None:
    """A number as ``Integer.parseInt`` reads it, or None for what is no number, or too large for one here."""
    found = _DECIMAL.match(text)
    return None if found is None else int(found[1] + found[2])


def _parse_v6(text: str) -> tuple[int, int] | None:
    halves = text.split("::")
    if len(halves) > 2:
        return None
    head, tail = ([part.split(":") if part else [] for part in halves] + [[]])[:2]
    if len(halves) == 1 and len(head) != 8:
        return None
    if len(halves) == 2 and len(head) + len(tail) >= 8:
        return None
    segments = head + ["0"] * (8 - len(head) - len(tail)) + tail
    value = 0
    for segment in segments:
        if len(segment) > 4 or not _HEX.match(segment):
            return None
        value = value << 16 | int(segment, 16) & 0xFFFF
    return value, 128
