"""The members of an ensemble as text: server.N, group.N, weight.N and version, read and printed.

Only the text, which a zoo.cfg, a dynamic configuration file, the node /zookeeper/config and the members'
protocol share (``QuorumPeer.QuorumServer``, ``QuorumMaj``, ``QuorumHierarchical``).  What is a quorum is in
``quorum/members.py``.  No name is looked up here: hosts are compared as they are written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from pyzkserver.errors import ConfigError

from .properties import Setting, parse_properties
from .values import LONG_MAX, parse_integer

__all__ = [
    "ANY_ADDRESS",
    "Address",
    "Member",
    "Membership",
    "java_order",
    "parse_member",
    "parse_membership",
    "read_settings",
]

ANY_ADDRESS = "0.0.0.0"
_FORM = "host:port:port[:participant|observer], more of the same after |, and ;[host:]port for clients"


class Address(NamedTuple):
    """Where a member listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_special(self) -> bool:
        """A wildcard or a loopback address, which several members may have (``excludedSpecialAddresses``)."""
        try:
            address = ip_address(self.host)
        except ValueError:
            return self.host == "localhost"
        return address.is_unspecified or address.is_loopback


@dataclass(frozen=True, slots=True)
class Member:
    """One server.N line (``QuorumServer``).

    Several addresses are a set, kept in the order in which they are printed.  ``client_address_is_static``: it
    comes from the clientPort of the member's own zoo.cfg, and so is not printed.
    """

    id: int
    quorum_addresses: tuple[Address, ...]
    election_addresses: tuple[Address, ...]
    client_address: Address | None = None
    observer: bool = False
    client_address_is_static: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quorum_addresses", tuple(sorted(self.quorum_addresses)))
        object.__setattr__(self, "election_addresses", tuple(sorted(self.election_addresses)))

    @property
    def text(self) -> str:
        """What stands after ``server.N=`` (``QuorumServer.toString``)."""
        pairs = zip(self.quorum_addresses, self.election_addresses, strict=True)
        ports = "|".join(f"{quorum}:{election.port}" for quorum, election in pairs)
        client = ""
        if self.client_address is not None and not self.client_address_is_static:
            client = f";{self.client_address}"
        return f"{ports}:{'observer' if self.observer else 'participant'}{client}"

    def conflict_with(self, other: "Member") -> str | None:
        """Which address two members share, in words, or None (``QuorumServer.checkAddressDuplicate``)."""
        theirs = set(other._own_addresses())
        for address in self._own_addresses():
            if address in theirs:
                return f"{address} of server.{self.id} conflicts {address} of server.{other.id}"
        return None

    def _own_addresses(self) -> Iterator[Address]:
        client = () if self.client_address is None else (self.client_address,)
        for address in (*self.quorum_addresses, *client, *self.election_addresses):
            if not address.is_special:
                yield address


@dataclass(frozen=True, slots=True)
class Membership:
    """What a dynamic configuration says.  ``group_of`` and ``weights`` are by server id.

    ``hierarchical``: there are group.N or weight.N lines.  Without, the majority decides, and both are empty.
    """

    members: Mapping[int, Member]
    version: int = 0
    hierarchical: bool = False
    group_of: Mapping[int, int] = field(default_factory=dict)
    weights: Mapping[int, int] = field(default_factory=dict)

    @property
    def voting(self) -> Mapping[int, Member]:
        return {sid: member for sid, member in self.members.items() if not member.observer}

    def is_distributed(self, *, standalone_enabled: bool) -> bool:
        """Whether it takes an ensemble to serve it (``QuorumPeerConfig.isDistributed``)."""
        return len(self.voting) > 1 or not (standalone_enabled or not self.members)

    def __str__(self) -> str:
        """As ``QuorumMaj.toString`` and ``QuorumHierarchical.toString`` print it: no newline at the end."""
        lines = [f"server.{sid}={self.members[sid].text}" for sid in java_order(self.members)]
        if self.hierarchical:
            groups: dict[int, list[str]] = {}
            for sid in java_order(self.group_of):
                groups.setdefault(self.group_of[sid], []).append(str(sid))
            lines += [f"group.{gid}={':'.join(groups[gid])}" for gid in java_order(groups)]
            lines += [f"weight.{sid}={self.weights[sid]}" for sid in java_order(self.weights)]
        return "\n".join([*lines, f"version={self.version:x}"])


def java_order(ids: Iterable[int]) -> list[int]:
    """The order in which a java.util.HashMap of Longs gives its keys: by bucket.

    The text is data of the node /zookeeper/config, and so part of the digest that members compare.  Within a
    bucket Apache's order depends on how the keys came in; here it is ascending (it takes ids above 15 to share one).
    """
    ids = sorted(ids)
    size = 16
    while len(ids) > size * 3 // 4:
        size *= 2

    def bucket(sid: int) -> int:
        folded = (sid ^ (sid >> 32)) & 0xFFFFFFFF
        return (folded ^ (folded >> 16)) & (size - 1)

    return sorted(ids, key=bucket)


def parse_member(sid: int, text: str, *, multi_address: bool = True) -> Member:
    """The member of ``server.<sid>=<text>``.

    Raises ValueError, with what is wrong in words.
    """
    server, *client = _split(text, ";")
    if len(client) > 1:
        raise ValueError(f"must be {_FORM}")
    parts = _split(server, "|")
    if len(parts) > 1 and not multi_address:
        raise ValueError("has several addresses: allow that with multiAddress.enabled=true")
    quorum, election, roles = [], [], set()
    for part in parts:
        host, *rest = _host_and_ports(part)
        if not 2 <= len(rest) <= 3:
            raise ValueError(f"must be {_FORM}")
        quorum.append(Address(host, _port(rest[0])))
        election.append(Address(host, _port(rest[1])))
        if quorum[-1].port == election[-1].port:
            raise ValueError(
                "must have two different ports: the first for the leader, the second for elections"
            )
        if len(rest) == 3:
            roles.add(_is_observer(rest[2]))
    if len(roles) > 1:
        raise ValueError("must have the same role with all its addresses")
    if len(set(quorum)) < len(quorum) or len(set(election)) < len(election):
        raise ValueError("names an address twice")
    client_address = _client_address(client[0]) if client else None
    return Member(sid, tuple(quorum), tuple(election), client_address, True in roles)


def _client_address(text: str) -> Address:
    parts = _host_and_ports(text) if ":" in text else [ANY_ADDRESS, text]
    if len(parts) != 2:
        raise ValueError(f"must be {_FORM}")
    return Address(parts[0], _port(parts[1]))


def _host_and_ports(text: str) -> list[str]:
    """host:1:2 in its parts, the host as Java prints it (``ConfigUtils.getHostAndPort``)."""
    match = re.fullmatch(r"\[([^\]]*)\](?::(.*))?|([^:]*)(?::(.*))?", text)
    if match is None:
        raise ValueError(f"must be {_FORM}")
    host = match[1] if match[1] is not None else match[3]
    if not re.fullmatch(r"[^\s:\[\]/]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%\S+)?", host):
        raise ValueError(f"must be {_FORM}: {host!r} is no host name or IP address")
    return [_as_java_prints(host), *_split(match[2] or match[4] or "", ":")]


def _as_java_prints(host: str) -> str:
    """An IP address as InetAddress.getHostAddress gives it: IPv6 in full, IPv4 with four parts; a name as it is."""
    if ":" not in host:
        return _four_parts(host) if re.fullmatch(r"[0-9]+(\.[0-9]+){0,2}", host) else host
    literal, _, scope = host.partition("%")
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise ValueError(f"{host!r} is no IPv6 address") from None
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    full = ":".join(f"{int(word, 16):x}" for word in address.exploded.split(":"))
    return f"{full}%{scope}" if scope else full


def _four_parts(host: str) -> str:
    """127.1 is 127.0.0.1: the last part fills what is missing."""
    *first, last = (int(part) for part in host.split("."))
    if any(part > 255 for part in first) or last >= 1 << 8 * (4 - len(first)):
        return host  # a name, if it is anything
    return ".".join(map(str, (*first, *last.to_bytes(4 - len(first), "big"))))


def _port(text: str) -> int:
    try:
        port = parse_integer(text)
    except ValueError:
        raise ValueError(f"{text!r} is no port number") from None
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port number: they go from 0 to 65535")
    return port


def _is_observer(text: str) -> bool:
    role = text.strip().lower()
    if role not in ("observer", "participant"):
        raise ValueError(f"{text!r} is no role: must be participant or observer")
    return role == "observer"


def _split(text: str, separator: str) -> list[str]:
    """String.split: what is empty at the end does not count."""
    parts = text.split(separator)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts


def parse_membership(text: str, source: str, *, multi_address: bool = True) -> Membership:
    """Read a whole dynamic configuration, such as the node's or a NEWLEADER's.

    Raises ConfigError, which names ``source``, line and key, for everything that
    ``QuorumPeerConfig.parseDynamicConfig`` does not know or the rules of groups forbid.
    """
    return read_settings(parse_properties(text, source).values(), multi_address=multi_address)


def read_settings(settings: Iterable[Setting], *, multi_address: bool = True) -> Membership:
    """The same from lines already taken apart; what is no setting of members is refused."""
    members: dict[int, Member] = {}
    group_of: dict[int, int] = {}
    weights: dict[int, int] = {}
    server_lines: dict[int, Setting] = {}
    group_lines: dict[int, Setting] = {}
    version = 0
    for setting in settings:
        try:
            kind, _, number = setting.key.strip().partition(".")
            value = setting.value.strip()
            if kind == "version" and not number:
                version = _version(value)
            elif kind == "server":
                sid = _whole(number, "a server's number")
                members[sid] = parse_member(sid, value, multi_address=multi_address)
                server_lines[sid] = setting
            elif kind == "group":
                gid = _whole(number, "a group's number")
                for sid in (_whole(part, "a server's number") for part in _split(value, ":")):
                    if sid in group_of:
                        raise ValueError(f"server {sid} is in several groups")
                    group_of[sid] = gid
                    group_lines[sid] = setting
            elif kind == "weight":
                weights[_whole(number, "a server's number")] = _whole(value, "a weight")
            else:
                raise ValueError("does not belong into a dynamic configuration")
        except ValueError as error:
            raise ConfigError(f"{setting.place}={setting.value}: {error}") from None
    hierarchical = bool(group_of or weights)
    for sid, member in members.items() if hierarchical else ():
        if not member.observer:
            if sid not in group_of:
                line = server_lines[sid]
                raise ConfigError(f"{line.place}={line.value}: is in no group: name it in a group.N line")
            weights.setdefault(sid, 1)
    for sid, line in group_lines.items():
        if sid not in weights:
            raise ConfigError(f"{line.place}={line.value}: server {sid} neither votes nor has a weight")
    return Membership(members, version, hierarchical, group_of, weights)


def _whole(text: str, what: str) -> int:
    try:
        value = parse_integer(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not {what}") from None
    if not 0 <= value <= LONG_MAX:
        raise ValueError(f"{text!r} is not {what}")
    return value


def _version(text: str) -> int:
    if not re.fullmatch(r"\+?[0-9a-fA-F]+", text) or int(text, 16) > LONG_MAX:
        raise ValueError("a version is a hexadecimal number of at most 63 bits")
    return int(text, 16)
