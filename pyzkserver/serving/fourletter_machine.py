"""What the four-letter words tell of the program and the machine: version, environment, settings, sizes.

Nothing of what clients do is told here.  What costs an import is imported when it is asked for.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pyzkserver._version import __version__
from pyzkserver.config import Config
from pyzkserver.state.paths import CONFIG_NODE

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

__all__ = ["FULL_VERSION", "VERSION", "conf", "dirs", "envi", "max_descriptors", "open_descriptors"]

VERSION = f"3.9.5-pyzkserver-{__version__}"
"""The release of Apache's that this server behaves as, and our own.

Clients read the three numbers before the first hyphen (kazoo's ``server_version``, zktop, Datadog), so they
must be Apache's; the rest stands where Apache puts a commit.
"""

BUILT = "11/22/2026 00:00 UTC"
"""When ``__version__`` was made.  Apache writes 2026-11-22 since 3.7, which older parsers do not know
(samuel/go-zookeeper's); this form all of them know."""

FULL_VERSION = f"{VERSION}, built on {BUILT}"

_UNKNOWN = "<NA>"  # as Apache has it


def envi(service: "Service", asker: "Connection") -> str:
    """The keys of Apache's ``Environment``, but for those of a Java machine."""
    import platform
    import socket

    entries = {
        "zookeeper.version": FULL_VERSION,
        # Not the canonical name, which a name server would have to be asked for: everybody would wait for it.
        "host.name": socket.gethostname(),
        "python.version": platform.python_version(),
        "python.implementation": platform.python_implementation(),
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
        "user.name": _user_name(),
        "user.home": os.path.expanduser("~"),
        "user.dir": _working_directory(),
    }
    lines = [f"{key}={value or _UNKNOWN}\n" for key, value in entries.items()]
    return "Environment:\n" + "".join(lines)


def _user_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without an account, as containers have it
        return _UNKNOWN


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has deleted it
        return _UNKNOWN


def conf(service: "Service", asker: "Connection") -> str:
    """What counts of the configuration (``ZooKeeperServer.dumpConf``)."""
    config = service.config
    snapshots, logs = _directories(config)
    entries = {
        "clientPort": service.port,
        "secureClientPort": -1,
        "dataDir": snapshots or "",
        "dataDirSize": _size(snapshots),
        "dataLogDir": logs or "",
        "dataLogSize": _size(logs),
        "tickTime": config.tick_time,
        "maxClientCnxns": config.max_client_cnxns,
        "minSessionTimeout": config.min_session_timeout,
        "maxSessionTimeout": config.max_session_timeout,
        "clientPortListenBacklog": config.client_port_listen_backlog,
        # A standalone server is no member of anything: Apache's says 0, although its sessions' ids say 1.
        "serverId": config.server_id if config.is_distributed else 0,
    }
    told = "".join(f"{key}={value}\n" for key, value in entries.items())
    return told + _ensemble(service) if config.is_distributed else told


def _ensemble(service: "Service") -> str:
    """What a member tells beside (``QuorumZooKeeperServer.dumpConf``); the members are those of this moment."""
    config = service.config
    text = (service.replica.tree.nodes[CONFIG_NODE].data or b"").decode()
    own = config.membership.members[config.server_id]
    entries = {
        "initLimit": config.init_limit,
        "syncLimit": config.sync_limit,
        "electionAlg": config.election_alg,
        "electionPort": "|".join(str(address.port) for address in own.election_addresses),
        "quorumPort": "|".join(str(address.port) for address in own.quorum_addresses),
        "peerType": 1 if config.peer_type == "observer" else 0,
    }
    told = "".join(f"{key}={value}\n" for key, value in entries.items())
    return f"{told}membership: \n{text}"


def dirs(service: "Service", asker: "Connection") -> str:
    """How many bytes the snapshots and the logs take; 0 in memory."""
    snapshots, logs = _directories(service.config)
    return f"datadir_size: {_size(snapshots)}\nlogdir_size: {_size(logs)}\n"


def _directories(config: Config) -> tuple[Path | None, Path | None]:
    """Where the snapshots and the logs are, if anywhere."""
    if config.data_dir is None:
        return None, None
    snapshots = config.data_dir.absolute() / "version-2"
    logs = config.data_log_dir.absolute() / "version-2" if config.data_log_dir else snapshots
    return snapshots, logs


def _size(directory: Path | None) -> int:
    """The length of all files below, 0 where there is no such directory."""
    if directory is None:
        return 0
    size = 0
    for here, _, names in os.walk(directory):
        for name in names:
            try:
                size += os.stat(os.path.join(here, name)).st_size
            except OSError:  # purged meanwhile
                continue
    return size


def open_descriptors() -> int | None:
    """How many file descriptors this process has open, where the system tells."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(directory)) - 1  # one is for this look
        except OSError:
            continue
    return None


def max_descriptors() -> int | None:
    """How many it may have, where the system tells and there is a limit."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit
