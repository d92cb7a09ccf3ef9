"""From a file and properties to the values of Config's fields: what is taken, noted and refused.

Config itself checks ranges and combinations; this module knows where every value came from.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyzkserver.errors import ConfigError

from .keys import Key, Where
from .properties import Setting
from .table import SILENT_PROPERTIES, find, names_of, suggestion
from .values import Numbered, Whole, Words, parse_integer

__all__ = ["Origin", "Reading"]

_IN_FILES = (Where.FILE, Where.PROPERTY, Where.BARE, Where.OURS)
_NEEDS_CLIENT_PORT = {
    "clientPortAddress": "is set, but clientPort is not",
    "secureClientPort": "TLS is not served yet, so no port would be left: add clientPort",
}


class Origin(NamedTuple):
    key: str  # with its place: "zoo.cfg:7: snapCount", "-Dzookeeper.snapCount"
    text: str

    def __str__(self) -> str:
        """For refusals.  Notes have the key alone: the log is no place for passwords."""
        return f"{self.key}={self.text}"


class Reading:
    """Gathers the fields' values from a file and properties, and remembers where each came from."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.origins: dict[str, Origin] = {}
        self.notes: list[str] = []

    def take_file(self, settings: Iterable[Setting], *, as_properties: bool) -> None:
        for setting in settings:
            key = find(setting.key)
            if key is None or key.where is Where.KEYWORD:
                meant = suggestion(setting.key.removeprefix("zookeeper."), names_of(*_IN_FILES))
                raise ConfigError(f"{setting.source}:{setting.line}: unknown key {setting.key}{meant}")
            if as_properties is (key.where is Where.FILE):
                continue
            if key.where is Where.JVM:
                note = f"has no effect in a zoo.cfg, as in Apache's server: pass -D{key.name}={setting.value}"
                self.notes.append(f"{setting.place} {note}")
            else:
                self.take(key, setting.key, Origin(setting.place, setting.value))

    def take_properties(self, properties: Mapping[str, str]) -> None:
        # Bare names first: where a key has both, zookeeper.KEY is stronger (FileTxnLog's fsync threshold).
        for name in sorted(properties, key=lambda name: name.startswith("zookeeper.")):
            origin = Origin(f"-D{name}", properties[name])
            key = find(name)
            if name.startswith("zookeeper."):
                self._take_zookeeper_property(name.removeprefix("zookeeper."), origin)
            elif key is not None and key.where in (Where.JVM, Where.BARE, Where.OURS):
                self.take(key, name, origin)
            elif name.startswith("pyzkserver."):
                raise ConfigError(f"-D{name}: unknown property{suggestion(name, names_of(Where.OURS))}")
            # All else is the JVM's or the logging library's: start scripts pass it.

    def _take_zookeeper_property(self, name: str, origin: Origin) -> None:
        key = find(name)
        if f"zookeeper.{name}".startswith(SILENT_PROPERTIES):
            return
        if key is None or key.where in (Where.OURS, Where.KEYWORD):
            meant = suggestion(name, names_of(Where.PROPERTY, Where.BARE))
            self.notes.append(f"{origin.key} is unknown, and ignored{meant}")
        elif key.where is Where.FILE:
            self.notes.append(
                f"{origin.key} has no effect, as in Apache's server: {name} belongs into zoo.cfg"
            )
        elif key.where is Where.JVM:
            self.notes.append(f"{origin.key} has no effect, as in Apache's server: pass -D{name}")
        else:
            self.take(key, name, origin)

    def take(self, key: Key, name: str, origin: Origin) -> None:
        """Parse one value into its field; for a key without one, refuse it or note that it has no effect."""
        try:
            value = key.kind.parse(origin.text)
            number = parse_integer(name.partition(".")[2]) if isinstance(key.kind, Numbered) else None
        except ValueError:
            raise ConfigError(f"{origin}: must be {key.kind.allowed}") from None
        if key.field is None:
            if value is False:
                return  # switching off what does not exist
            if key.refused:
                raise ConfigError(f"{origin}: {key.refused}: remove this setting")
            if key.note:
                self.notes.append(f"{origin.key} {key.note}")
            return
        if isinstance(key.kind, Words) and (others := key.kind.of_others(origin.text)):
            self.notes.append(f"{origin.key} names {' '.join(others)}, which this server does not know")
        if isinstance(key.kind, Whole):
            given, value = value, key.kind.check(value)
            if value != given:
                self.notes.append(f"{origin.key} is raised from {given} to {value}")
        if number is not None:
            lines = self.values.get(key.field, ())
            assert isinstance(lines, tuple)
            value = (*lines, (number, value))
        self.values[key.field] = value
        self.origins[key.field] = origin

    def settle_addresses(
        self, source: str, settings: Iterable[Setting], overrides: Mapping[str, object]
    ) -> None:
        """Where to listen, when zoo.cfg does not say it with clientPort and clientPortAddress."""
        given = {setting.key: setting for setting in settings}
        if "secureClientPortAddress" in given and "secureClientPort" not in given:
            raise ConfigError(
                f"{given['secureClientPortAddress'].place}: is set, but secureClientPort is not"
            )
        self._take_client_part_of_server_line()
        if "client_port" not in self.values and "client_port" not in overrides:
            for key, reason in _NEEDS_CLIENT_PORT.items():
                if key in given:
                    raise ConfigError(f"{given[key].place}: {reason}")
            self.notes.append(
                f"{source}: there is no clientPort, so clients are served on 2181;"
                " Apache's server would listen for none"
            )
        if "client_port_address" not in self.values and "client_port_address" not in overrides:
            self.notes.append(
                f"{source}: there is no clientPortAddress, so only 127.0.0.1 is listened on; Apache's server"
                " would listen on all addresses, as clientPortAddress=0.0.0.0 does here"
            )

    def _take_client_part_of_server_line(self) -> None:
        """server.1=host:port:port;[address:]port says where this, the only server, listens for clients."""
        servers = self.values.get("servers", ())
        assert isinstance(servers, tuple)
        _, found, client = servers[0][1].partition(";") if len(servers) == 1 else ("", "", "")
        if not found:
            return
        address, _, port = client.rpartition(":")
        if self.values.setdefault("client_port", int(port)) != int(port):
            origin = self.origins["client_port"]
            raise ConfigError(f"{origin}: differs from the client port of {self.origins['servers']}")
        self.origins.setdefault("client_port", self.origins["servers"])
        if address:
            self.values.setdefault("client_port_address", address)
            self.origins.setdefault("client_port_address", self.origins["servers"])
