"""What zoo.cfg leaves to other files: dynamicConfigFile and myid; and where a member serves its clients.

``QuorumPeerConfig`` in the parts that only an ensemble needs.  What the lines themselves may say is in
``membership.py``, what must hold of all settings together in ``config.py``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyzkserver.errors import ConfigError

from .membership import ANY_ADDRESS, Member, Membership, read_settings
from .properties import Setting, parse_properties
from .reading import Origin, Reading
from .table import find
from .values import parse_integer

__all__ = ["NEXT_SUFFIX", "membership_of", "read_latin1", "take_members"]

NEXT_SUFFIX = ".dynamic.next"  # after zoo.cfg's name: what was proposed, and not yet known to be decided
_FIELDS = ("servers", "groups", "weights")


def read_latin1(path: Path) -> str:
    """A properties file.  Raises ConfigError."""
    try:
        return path.read_bytes().decode("latin-1")  # Properties.load's encoding
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def take_members(
    reading: Reading, zoo_cfg: Path, settings: Iterable[Setting], overrides: Mapping[str, object]
) -> None:
    """Complete ``reading`` with what the other files say.  ``overrides`` are stronger."""
    if "servers" in overrides:
        return
    lines = [setting for setting in settings if _is_about_members(setting)]
    dynamic = overrides.get("dynamic_config_file", reading.values.get("dynamic_config_file"))
    if isinstance(dynamic, str | Path):
        if lines:
            raise ConfigError(
                f"{lines[0].place}: belongs into {dynamic}, the file that dynamicConfigFile names"
            )
        lines = _take_dynamic_file(reading, Path(dynamic))
        _take_next_file(reading, zoo_cfg)
    if not any(setting.key.startswith("server.") for setting in lines):
        return
    membership = read_settings(lines, multi_address=reading.values.get("multi_address_enabled") is True)
    standalone = overrides.get("standalone_enabled", reading.values.get("standalone_enabled", True))
    if membership.is_distributed(standalone_enabled=bool(standalone)):
        sid = _take_my_id(reading, overrides)
        own = membership.members.get(sid)
        if own is None:
            known = ", ".join(map(str, sorted(membership.members)))
            raise ConfigError(
                f"{reading.origins['server_id']}: is no member: there are server.N lines for {known}"
            )
        _settle_client_address(reading, own, overrides)


def _is_about_members(setting: Setting) -> bool:
    key = find(setting.key)
    return key is not None and key.field in _FIELDS


def _take_dynamic_file(reading: Reading, path: Path) -> list[Setting]:
    """Its name ends with the version of the configuration, hexadecimal, or with something else for 0."""
    lines = []
    for setting in parse_properties(read_latin1(path), str(path)).values():
        setting = setting._replace(key=setting.key.strip(), value=setting.value.strip())
        if not _is_about_members(setting):
            is_version = setting.key == "version"
            reason = "the version is at the end of the file's name" if is_version else "unknown key"
            raise ConfigError(f"{setting.place}: {reason}")
        lines.append(setting)
    reading.take_file(lines, as_properties=False)
    ending = path.name.rpartition(".")[2]
    if "." in path.name and re.fullmatch(r"[0-9a-fA-F]{1,15}", ending):
        reading.values["members_version"] = int(ending, 16)
    return lines


def _take_next_file(reading: Reading, zoo_cfg: Path) -> None:
    path = zoo_cfg.with_name(zoo_cfg.name + NEXT_SUFFIX)
    if path.exists():
        text = read_latin1(path)
        read_settings(parse_properties(text, str(path)).values())
        reading.values["next_members"] = text


def _take_my_id(reading: Reading, overrides: Mapping[str, object]) -> int:
    """This member's number (``QuorumPeerConfig.setupMyId``)."""
    given = overrides.get("server_id")
    if isinstance(given, int):
        reading.origins["server_id"] = Origin("server_id", str(given))
        return given
    directory = overrides.get("data_dir", reading.values.get("data_dir"))
    if not isinstance(directory, str | Path):
        raise ConfigError(
            "dataDir is not set: a member of an ensemble needs one, with its number in the file myid"
        )
    path = Path(directory) / "myid"
    if not path.is_file():
        origin = "" if "data_dir" in overrides else f"{reading.origins['data_dir']}: "
        raise ConfigError(
            f"{origin}{path} is missing: write this member's number there, as in its server.N line"
        )
    text = read_latin1(path).splitlines()[0:1]
    try:
        sid = parse_integer("".join(text).strip())
    except ValueError:
        raise ConfigError(
            f"{path}: {''.join(text)!r} is not a number: write this member's there, the N of its server.N line"
        ) from None
    reading.values["server_id"] = sid
    reading.origins["server_id"] = Origin(str(path), str(sid))
    return sid


def _settle_client_address(reading: Reading, own: Member, overrides: Mapping[str, object]) -> None:
    """Its own line says where a member serves clients; zoo.cfg may say the same (``setupClientPort``).

    Without either clients are served where Apache's server would, on all addresses, unless the ensemble is one of
    this machine only.
    """
    if "client_port" in overrides or "client_port_address" in overrides:
        return
    values, origins = reading.values, reading.origins
    host, port = values.get("client_port_address"), values.get("client_port")
    if own.client_address is None:
        if port is not None and host is None and not own.quorum_addresses[0].is_special:
            values["client_port_address"] = ANY_ADDRESS
        return
    differs = port is not None and port != own.client_address.port
    if port is not None and host not in (None, ANY_ADDRESS, "::", own.client_address.host):
        differs = True
    if differs:
        origin = origins["client_port_address" if host is not None else "client_port"]
        raise ConfigError(f"{origin}: differs from {own.client_address} in the line of server.{own.id}")
    values["client_port_address"], values["client_port"] = own.client_address


def membership_of(
    servers: Iterable[tuple[int, str]],
    groups: Iterable[tuple[int, str]],
    weights: Iterable[tuple[int, str]],
    version: int,
    *,
    multi_address: bool,
) -> Membership:
    """From Config's fields.  Raises ConfigError."""
    pairs = {"server": servers, "group": groups, "weight": weights}
    lines = [Setting(f"{kind}.{number}", text, "", 0) for kind in pairs for number, text in pairs[kind]]
    lines.append(Setting("version", f"{version:x}", "", 0))
    return read_settings(lines, multi_address=multi_address)
