"""The configuration on disk: in zoo.cfg, zoo.cfg.dynamic.VERSION and zoo.cfg.dynamic.next, as Apache's members
keep it; or, for a member without a zoo.cfg, beside its snapshots.

``QuorumPeerConfig.writeDynamicConfig`` and ``editStaticConfig``.  The first three are read in ``_config``.
"""

import contextlib
import logging
import os
from pathlib import Path
from typing import Protocol

from pyzkserver._config.ensemble import NEXT_SUFFIX, read_latin1
from pyzkserver._config.properties import parse_properties
from pyzkserver.errors import ConfigError
from pyzkserver.storage.disk import Disk
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.recovery import DataDirectoryError

from .members import Members

__all__ = ["BesideSnapshots", "ConfigFiles", "Keeping", "Nowhere"]

logger = logging.getLogger("pyzkserver.quorum")

_DECIDED, _PROPOSED = "members", "members.next"
_OF_MEMBERS = ("server.", "group", "weight", "dynamicConfigFile", "peerType")
_OF_CLIENTS = ("clientPort",)  # and clientPortAddress


class Keeping(Protocol):
    """Where a member keeps which configuration is in force, and which is proposed."""

    def propose(self, members: Members) -> None:
        """Keep a configuration that is not decided yet: its voters take part in elections from now on."""

    def decide(self, members: Members, sid: int, *, last: bool = True) -> None:
        """Keep the configuration that is in force from now on.  A later one is proposed unless it is the ``last``."""


class Nowhere:
    """Without reconfigEnabled nothing changes."""

    def propose(self, members: Members) -> None:
        pass

    def decide(self, members: Members, sid: int, *, last: bool = True) -> None:
        pass


class BesideSnapshots:
    """Of a member without a zoo.cfg: files with the text of a dynamic configuration, version included.

    What cannot be kept here stops the member, as with the epochs: it must not forget.
    """

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk, self._directory = disk, directory

    def recall(self, configured: Members) -> tuple[Members, Members]:
        """What was in force, and what was proposed last, when the member ended.  Raises DataDirectoryError."""
        decided, proposed = (self._read(name) or configured for name in (_DECIDED, _PROPOSED))
        decided = max(decided, configured, key=lambda members: members.version)
        return decided, max(decided, proposed, key=lambda members: members.version)

    def propose(self, members: Members) -> None:
        self._write(_PROPOSED, members)

    def decide(self, members: Members, sid: int, *, last: bool = True) -> None:
        self._write(_DECIDED, members)

    def _read(self, name: str) -> Members | None:
        path = self._directory / name
        try:
            text = b"".join(self._disk.read(path)).decode("utf-8", "replace")
            return Members.parse(text, str(path))
        except FileNotFoundError:
            return None
        except (OSError, ConfigError) as error:
            raise DataDirectoryError(f"{path}: it cannot be read: {error}") from error

    def _write(self, name: str, members: Members) -> None:
        path, aside = self._directory / name, self._directory / (name + ".tmp")
        try:
            file = self._disk.create(aside)
            try:
                file.write(members.text.encode(), 0)
                file.sync()
            finally:
                file.close()
            self._disk.rename(aside, path)
            self._disk.sync_directory(self._directory)
        except OSError as error:
            raise StorageFailed(
                f"the configuration cannot be written to {path}: {error.strerror or error}. The server"
                " stops: nothing that was acknowledged is lost. Mend the disk, or make room on it, then start the"
                " server again"
            ) from error


class ConfigFiles:
    """Of the member whose zoo.cfg this is.

    A file that cannot be written is complained about, and the member goes on, as Apache's does: what is decided
    is decided, and whoever comes back with older files is told by the others.
    """

    def __init__(self, zoo_cfg: Path) -> None:
        self._zoo_cfg = zoo_cfg

    def propose(self, members: Members) -> None:
        """Into zoo.cfg.dynamic.next."""
        self._write(self._next(self._zoo_cfg), _lines(members, with_version=True))

    def decide(self, members: Members, sid: int, *, last: bool = True) -> None:
        """Let zoo.cfg point to this configuration."""
        zoo_cfg = self._zoo_cfg
        dynamic = zoo_cfg.with_name(f"{zoo_cfg.name}.dynamic.{members.version:x}")
        own = members.get(sid)
        erase = own is not None and own.client_address is not None and not own.client_address_is_static
        written = self._write(dynamic, _lines(members, with_version=False))
        if written and self._edit(zoo_cfg, dynamic, erase) and last:
            with contextlib.suppress(OSError):
                self._next(zoo_cfg).unlink(missing_ok=True)

    @staticmethod
    def _next(zoo_cfg: Path) -> Path:
        return zoo_cfg.with_name(zoo_cfg.name + NEXT_SUFFIX)

    def _edit(self, zoo_cfg: Path, dynamic: Path, erase_clients: bool) -> bool:
        """Everything about members goes out of zoo.cfg; what it was at first stays in zoo.cfg.bak."""
        dropped = _OF_MEMBERS + (_OF_CLIENTS if erase_clients else ())
        try:
            text = read_latin1(zoo_cfg)
            settings = parse_properties(text, str(zoo_cfg)).values()
        except ConfigError as error:
            logger.error("the configuration cannot be updated: %s", error)
            return False
        backup = zoo_cfg.with_name(zoo_cfg.name + ".bak")
        if not any(setting.key.strip() == "dynamicConfigFile" for setting in settings):
            self._write(backup, text)
        lines = [
            f"{setting.key.strip()}={_escaped(setting.value.strip())}\n"
            for setting in settings
            if not setting.key.strip().startswith(dropped)
        ]
        lines.append(f"dynamicConfigFile={_escaped(dynamic.resolve().as_posix())}\n")
        return self._write(zoo_cfg, "".join(lines))

    def _write(self, path: Path, text: str) -> bool:
        """All of it or nothing, also after a crash (``AtomicFileWritingIdiom``)."""
        temporary = path.with_name(path.name + ".tmp")
        try:
            with temporary.open("w", encoding="latin-1", errors="backslashreplace", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            logger.error("%s cannot be written, and does not hold the configuration of now: %s", path, error)
            return False
        return True


def _lines(members: Members, *, with_version: bool) -> str:
    lines = members.text.split("\n")
    return "\n".join(sorted(line for line in lines if with_version or not line.startswith("version=")))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
