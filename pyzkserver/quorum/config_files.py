"""The configuration on disk: zoo.cfg, zoo.cfg.dynamic.VERSION and zoo.cfg.dynamic.next, as Apache's members keep it.

``QuorumPeerConfig.writeDynamicConfig`` and ``editStaticConfig``.  What is read at the start is in ``_config``.
"""

import contextlib
import logging
import os
from pathlib import Path

from pyzkserver._config.ensemble import NEXT_SUFFIX, read_latin1
from pyzkserver._config.properties import parse_properties
from pyzkserver.errors import ConfigError

from .members import Members

__all__ = ["ConfigFiles"]

logger = logging.getLogger("pyzkserver.quorum")

_OF_MEMBERS = ("server.", "group", "weight", "dynamicConfigFile", "peerType")
_OF_CLIENTS = ("clientPort",)  # and clientPortAddress


class ConfigFiles:
    """Of the member whose zoo.cfg this is; where there is none, nothing is kept.

    A file that cannot be written is complained about, and the member goes on, as Apache's does: what is decided
    is decided, and whoever comes back with older files is told by the others.
    """

    def __init__(self, zoo_cfg: Path | None) -> None:
        self._zoo_cfg = zoo_cfg

    def propose(self, members: Members) -> None:
        """Keep a configuration that is not decided yet: its voters take part in elections from now on."""
        if self._zoo_cfg is not None:
            self._write(self._next(self._zoo_cfg), _lines(members, with_version=True))

    def decide(self, members: Members, sid: int) -> None:
        """Let zoo.cfg point to this configuration."""
        zoo_cfg = self._zoo_cfg
        if zoo_cfg is None:
            return
        dynamic = zoo_cfg.with_name(f"{zoo_cfg.name}.dynamic.{members.version:x}")
        own = members.get(sid)
        erase = own is not None and own.client_address is not None and not own.client_address_is_static
        if self._write(dynamic, _lines(members, with_version=False)) and self._edit(zoo_cfg, dynamic, erase):
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
