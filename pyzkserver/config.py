"""The configuration: zoo.cfg, -D properties and keyword arguments, all into one frozen Config.

Which keys there are and what each allows is in the tables of ``_config/``, as is the reading of files; this
module imports nothing of the package but those and ``errors``, and opens no sockets or data directories.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ._config.ensemble import membership_of, read_latin1, take_members
from ._config.membership import Membership
from ._config.properties import Setting, parse_properties
from ._config.reading import Reading
from ._config.table import FIELDS, suggestion
from ._config.values import DIGEST_ALGORITHMS, FOUR_LETTER_WORDS, Whole
from .errors import ConfigError

__all__ = ["FOUR_LETTER_WORDS", "Config", "Setting", "load", "parse_properties"]

# What a zoo.cfg without tickTime means to Apache (ZooKeeperServer.DEFAULT_TICK_TIME).  Config's own default
# is that of every sample and embedded server, which people mean when they say "the default".
APACHE_TICK_TIME = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be set.  Once constructed, every field holds the value that counts: session
    timeouts in ms instead of -1, and so on.

    Raises ConfigError for a value that cannot be used.  What was accepted but changes nothing, or was
    raised to a minimum, is told in ``notes``, for the server to log once.
    """

    # Clients and sessions
    client_port: int = 2181
    client_port_address: str = "127.0.0.1"
    client_port_listen_backlog: int = -1
    tick_time: int = 2000
    min_session_timeout: int = -1
    max_session_timeout: int = -1
    max_client_cnxns: int = 60
    max_cnxns: int = 0
    sessionless_cnxn_timeout_ms: int = 10000
    client_tcp_keep_alive: bool = False
    four_letter_words: frozenset[str] = frozenset({"srvr"})
    read_only_mode_enabled: bool = False

    # Requests and the tree
    jute_max_buffer: int = 0xFFFFF
    global_outstanding_limit: int = 1000
    extended_types_enabled: bool = False
    emulate_353_ttl_nodes: bool = False
    enforce_quota: bool = False
    container_check_interval_ms: int = 60000
    container_max_per_minute: int = 10000
    container_max_never_used_interval_ms: int = 0
    digest_enabled: bool = True
    close_session_txn_enabled: bool = True
    reconfig_enabled: bool = False

    # Authentication
    skip_acl: bool = False
    digest_authentication: bool = True
    super_digest: str | None = field(default=None, repr=False)
    digest_algorithm: str = "SHA1"
    enforce_auth_enabled: bool = False
    enforce_auth_schemes: tuple[str, ...] = ()

    # Storage
    data_dir: Path | None = None
    data_log_dir: Path | None = None
    force_sync: bool = True
    snap_count: int = 100000
    pre_alloc_size: int = 65536
    txn_log_size_limit_in_kb: int = -1
    snap_size_limit_in_kb: int = 4194304
    snapshot_size_factor: float = 0.33
    commit_log_count: int = 500
    fsync_warning_threshold_ms: int = 1000
    snapshot_compression_method: str = ""
    snapshot_trust_empty: bool = False
    serialize_last_processed_zxid_enabled: bool = True
    data_dir_autocreate: bool = True
    db_autocreate: bool = True
    auto_purge_snap_retain_count: int = 3
    auto_purge_purge_interval: int = 0
    flush_delay: int = 0
    max_write_queue_poll_time: int = -1
    max_batch_size: int = 1000
    jute_max_buffer_extra_size: int = -1

    # Ensembles
    servers: tuple[tuple[int, str], ...] = ()
    groups: tuple[tuple[int, str], ...] = ()
    weights: tuple[tuple[int, str], ...] = ()
    standalone_enabled: bool = True
    dynamic_config_file: Path | None = None
    peer_type: str = "participant"
    init_limit: int = 0
    sync_limit: int = 0
    connect_to_learner_master_limit: int = 0
    election_alg: str = "3"
    quorum_listen_on_all_ips: bool = False
    leader_serves: bool = True
    sync_enabled: bool = True
    observer_master_port: int = 0
    observer_master_size_limit: int = 32 * 1024 * 1024
    observer_reconnect_delay_ms: int = 0
    observer_election_delay_ms: int = 200
    local_sessions_enabled: bool = False
    local_sessions_upgrading_enabled: bool = False
    cnx_timeout: int = 5000
    quorum_cnxn_timeout_ms: int = -1
    tcp_keep_alive: bool = False
    election_port_bind_retry: int = 3
    min_notification_interval: int = 200
    max_notification_interval: int = 60000
    max_time_to_wait_for_epoch: int = -1
    max_concurrent_snap_syncs: int = 10
    max_concurrent_diff_syncs: int = 100
    leader_connect_delay_during_retry_ms: int = 100
    force_snapshot_sync: bool = False
    multi_address_enabled: bool = False
    multi_address_reachability_check_enabled: bool = True
    multi_address_reachability_check_timeout_ms: int = 1000
    oracle_path: Path | None = None

    # Ours
    max_watches_per_connection: int = 1_000_000
    max_sessions: int = 1_000_000
    max_outbox_bytes: int = 64 * 1024 * 1024
    # Session ids begin with it; a standalone server's with 1 (ZooKeeperServer.createSessionTrackerServerId).
    server_id: int = 1
    members_version: int = 0
    next_members: str = field(default="", repr=False)
    config_file: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, key in FIELDS.items():
            given = getattr(self, name)
            if given is _DEFAULTS[name]:
                continue
            try:
                value = key.kind.check(given)
            except ValueError:
                raise _refused(f"must be {key.kind.allowed_keyword}", name, value=given) from None
            object.__setattr__(self, name, value)
            if value == _DEFAULTS[name] == given:
                continue
            if key.refused:
                raise _refused(f"{key.refused}: remove this setting", name, value=given)
            if isinstance(key.kind, Whole) and value != given:
                if given < 0:
                    # Apache's servers take it for 0 in a file; what a program means by it nobody knows.
                    raise _refused(f"must be {key.kind.allowed_keyword}", name, value=given)
                self._note(name, f"is raised from {given} to {value}")
            if key.note:
                self._note(name, key.note)
        for name in ("data_dir", "data_log_dir"):
            if str(getattr(self, name)).startswith("~"):
                self._note(name, "begins with ~, which a shell replaces; here it is a directory of that name")
        self._fill_in()
        self._check_combinations()

    def _note(self, name: str, text: str) -> None:
        """Add a note, unless it came with ``notes`` (dataclasses.replace) from the same key of a file."""
        if not any(note.endswith((f"{FIELDS[name].name} {text}", f"{name} {text}")) for note in self.notes):
            object.__setattr__(self, "notes", (*self.notes, f"{name} {text}"))

    def _fill_in(self) -> None:
        """Compute the defaults that depend on other fields."""
        if self.min_session_timeout == -1:
            object.__setattr__(self, "min_session_timeout", 2 * self.tick_time)
        if self.max_session_timeout == -1:
            object.__setattr__(self, "max_session_timeout", 20 * self.tick_time)
        if self.max_write_queue_poll_time == -1:
            object.__setattr__(self, "max_write_queue_poll_time", self.flush_delay // 3)
        if self.jute_max_buffer_extra_size == -1:
            object.__setattr__(self, "jute_max_buffer_extra_size", max(self.jute_max_buffer, 1024))
        if self.read_only_mode_enabled:
            object.__setattr__(self, "four_letter_words", self.four_letter_words | {"isro"})

    def _check_combinations(self) -> None:
        if self.min_session_timeout > self.max_session_timeout:
            raise _refused(
                f"minSessionTimeout ({self.min_session_timeout}) must not be larger than"
                f" maxSessionTimeout ({self.max_session_timeout})",
                "min_session_timeout",
                "max_session_timeout",
                value=self.min_session_timeout,
            )
        if self.extended_types_enabled and self.server_id > 254:
            raise _refused("must be at most 254 with extendedTypesEnabled", "server_id", value=self.server_id)
        self._check_authentication()
        self._check_servers()

    def _check_authentication(self) -> None:
        schemes = {"ip", "digest"} if self.digest_authentication else {"ip"}
        usable = self.enforce_auth_schemes and schemes.issuperset(self.enforce_auth_schemes)
        if self.enforce_auth_enabled and not usable:
            raise _refused(
                "with enforce.auth.enabled=true, enforce.auth.schemes must name one or more of the schemes"
                f" that can be enforced: {', '.join(sorted(schemes))}",
                "enforce_auth_schemes",
                "enforce_auth_enabled",
                value=self.enforce_auth_schemes,
            )

    def _check_servers(self) -> None:
        """As ``QuorumPeerConfig.parseDynamicConfig`` and ``checkValidity`` do."""
        if not self.servers:
            if not self.standalone_enabled:
                reason = "without server.N lines there is no ensemble: add them, or remove this setting"
                raise _refused(reason, "standalone_enabled", value=False)
            if self.peer_type != "participant":
                self._note("peer_type", "has no effect: this server is no member of an ensemble")
            return
        try:
            membership = self.membership
        except ConfigError as error:
            raise _refused(str(error), "servers", value=self.servers) from None
        voters = len(membership.voting)
        if voters == 0 or (voters == 1 and self.standalone_enabled and len(membership.members) > 1):
            alone = "an observer alone has nothing to observe: remove the line to start a standalone server"
            several = "observers need an ensemble: add participants, or set standaloneEnabled=false if one is enough"
            raise _refused(several if voters else alone, "servers", value=self.servers)
        if self.is_distributed:
            self._check_member(membership)

    def _check_member(self, membership: Membership) -> None:
        for name in ("init_limit", "sync_limit"):
            if getattr(self, name) == 0:
                reason = f"a member of an ensemble needs {FIELDS[name].name}: {FIELDS[name].about}"
                raise _refused(reason, name, value=0)
        own = membership.members.get(self.server_id)
        if own is None:
            reason = (
                f"is no member: there are {', '.join(f'server.{sid}' for sid in sorted(membership.members))}"
            )
            raise _refused(reason, "server_id", value=self.server_id)
        if self.oracle_path is not None:
            reason = "an oracle between two members is not supported: remove this setting"
            raise _refused(reason, "oracle_path", value=self.oracle_path)
        role = "observer" if own.observer else "participant"
        if self.peer_type not in (role, _DEFAULTS["peer_type"]):
            self._note("peer_type", f"is not what server.{own.id} says, which counts: {role}")
        object.__setattr__(self, "peer_type", role)
        voters = len(membership.voting)
        if voters <= 2:
            self._note("servers", f"has {voters} participants: with fewer than 3 no failure is tolerated")
        elif voters % 2 == 0:
            self._note("servers", f"has {voters} participants: one less tolerates as many failures")

    @property
    def membership(self) -> Membership:
        """What the server.N, group.N and weight.N lines say together."""
        return membership_of(
            self.servers,
            self.groups,
            self.weights,
            self.members_version,
            multi_address=self.multi_address_enabled,
        )

    @property
    def is_distributed(self) -> bool:
        """Whether this is a member of an ensemble, not a standalone server."""
        return self.membership.is_distributed(standalone_enabled=self.standalone_enabled)

    @property
    def digest_hashlib_name(self) -> str:
        """``digest_algorithm`` as ``hashlib.new`` knows it."""
        return DIGEST_ALGORITHMS[self.digest_algorithm.upper().replace("-", "")]


_DEFAULTS = {f.name: f.default for f in fields(Config)}


def _refused(reason: str, *names: str, value: object) -> ConfigError:
    """What a keyword argument meets.  ``load`` puts the line that gave one of ``names`` before ``reason``."""
    return ConfigError(f"{names[0]}={value!r}: {reason}", reason=reason, names=names)


def load(
    zoo_cfg: Path | None,
    properties: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """What Apache's server would run with, given this file and these -D ``properties`` (without the -D).

    A key of the file that Apache turns into a system property is stronger than the -D of that name, as
    there.  ``overrides`` are Config's keywords, stronger than both.
    """
    overrides = overrides or {}
    reading = Reading()
    if zoo_cfg is None:
        reading.take_properties(properties or {})
    else:
        text = read_latin1(zoo_cfg)
        reading.values.update(tick_time=APACHE_TICK_TIME, config_file=zoo_cfg)
        settings = [_trimmed(setting) for setting in parse_properties(text, str(zoo_cfg)).values()]
        # What QuorumPeerConfig keeps is weaker than a property for the same thing (observer.syncEnabled);
        # what it makes a property of overwrites -D.
        reading.take_file(settings, as_properties=False)
        reading.take_properties(properties or {})
        reading.take_file(settings, as_properties=True)
        take_members(reading, zoo_cfg, settings, overrides)
        reading.settle_addresses(str(zoo_cfg), settings, overrides)
    return _construct(reading, overrides)


def _trimmed(setting: Setting) -> Setting:
    return setting._replace(key=setting.key.strip(), value=setting.value.strip())


def _construct(reading: Reading, overrides: Mapping[str, object]) -> Config:
    """The Config; what it says about a field is said about the line that the value came from."""
    for name in overrides:
        if name not in _DEFAULTS:
            raise ConfigError(f"{name}: unknown keyword{suggestion(name, _DEFAULTS)}")
    origins = {name: origin for name, origin in reading.origins.items() if name not in overrides}
    values: dict[str, Any] = {**reading.values, **overrides}
    try:
        config = Config(**values)
    except ConfigError as error:
        origin = next((origins[name] for name in error.names if name in origins), None)
        if origin is None:
            raise
        raise ConfigError(f"{origin}: {error.reason}") from None
    notes = []
    for note in config.notes:
        name, _, text = note.partition(" ")
        notes.append(f"{origins[name].key} {text}" if name in origins else note)
    object.__setattr__(config, "notes", (*notes, *reading.notes))
    return config
