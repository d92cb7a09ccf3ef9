"""The configuration: every setting, every way to give a value, every refusal, every note.

Members and addresses are in ``test_config_members.py``, the files themselves in ``test_config_files.py``.

``python tests/test_config.py`` rewrites the tables of docs/configuration.md.
"""

import dataclasses
import hashlib
import re
from collections import defaultdict
from pathlib import Path

import pytest
from configuring import ADDRESS, keyword_refusal, refusal

import pyzkserver
from pyzkserver._config.keys import Key, Where
from pyzkserver._config.table import FIELDS, SECTIONS, TABLE
from pyzkserver.config import FOUR_LETTER_WORDS, Config, load

ROOT = Path(__file__).parent.parent
MANUAL = ROOT / "docs" / "configuration.md"
MARK = "<!-- tables -->\n"


# --- defaults ---------------------------------------------------------------------------------------------


def test_defaults_are_apaches():
    config = Config()
    expected = {
        "client_port": 2181,
        "client_port_listen_backlog": -1,
        "tick_time": 2000,
        "min_session_timeout": 4000,
        "max_session_timeout": 40000,
        "max_client_cnxns": 60,
        "max_cnxns": 0,
        "sessionless_cnxn_timeout_ms": 10000,
        "client_tcp_keep_alive": False,
        "four_letter_words": {"srvr"},
        "read_only_mode_enabled": False,
        "jute_max_buffer": 1048575,
        "global_outstanding_limit": 1000,
        "extended_types_enabled": False,
        "emulate_353_ttl_nodes": False,
        "enforce_quota": False,
        "container_check_interval_ms": 60000,
        "container_max_per_minute": 10000,
        "container_max_never_used_interval_ms": 0,
        "digest_enabled": True,
        "close_session_txn_enabled": True,
        "reconfig_enabled": False,
        "skip_acl": False,
        "digest_authentication": True,
        "super_digest": None,
        "digest_algorithm": "SHA1",
        "enforce_auth_enabled": False,
        "enforce_auth_schemes": (),
        "force_sync": True,
        "snap_count": 100000,
        "pre_alloc_size": 65536,
        "txn_log_size_limit_in_kb": -1,
        "snap_size_limit_in_kb": 4194304,
        "snapshot_size_factor": 0.33,
        "commit_log_count": 500,
        "fsync_warning_threshold_ms": 1000,
        "snapshot_compression_method": "",
        "snapshot_trust_empty": False,
        "serialize_last_processed_zxid_enabled": True,
        "data_dir_autocreate": True,
        "db_autocreate": True,
        "auto_purge_snap_retain_count": 3,
        "auto_purge_purge_interval": 0,
        "flush_delay": 0,
        "max_write_queue_poll_time": 0,
        "max_batch_size": 1000,
        "jute_max_buffer_extra_size": 1048575,
        "standalone_enabled": True,
        "peer_type": "participant",
        "init_limit": 0,
        "sync_limit": 0,
        "connect_to_learner_master_limit": 0,
        "quorum_listen_on_all_ips": False,
        "leader_serves": True,
        "sync_enabled": True,
        "observer_master_port": 0,
        "observer_master_size_limit": 33554432,
        "observer_reconnect_delay_ms": 0,
        "observer_election_delay_ms": 200,
        "local_sessions_enabled": False,
        "local_sessions_upgrading_enabled": False,
        "cnx_timeout": 5000,
        "quorum_cnxn_timeout_ms": -1,
        "tcp_keep_alive": False,
        "election_port_bind_retry": 3,
        "min_notification_interval": 200,
        "max_notification_interval": 60000,
        "max_time_to_wait_for_epoch": -1,
        "max_concurrent_snap_syncs": 10,
        "max_concurrent_diff_syncs": 100,
        "leader_connect_delay_during_retry_ms": 100,
        "force_snapshot_sync": False,
        "multi_address_enabled": False,
        "multi_address_reachability_check_enabled": True,
        "multi_address_reachability_check_timeout_ms": 1000,
        "server_id": 1,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_our_own_defaults():
    config = Config()
    assert config.client_port_address == "127.0.0.1"
    assert config.data_dir is None
    assert config.max_watches_per_connection == 1_000_000
    assert config.max_sessions == 1_000_000
    assert config.max_outbox_bytes == 64 * 1024 * 1024
    assert config.notes == ()


def test_without_a_file_nothing_is_noted():
    assert load(None) == Config()


def test_a_file_without_tick_time_has_apaches_tick(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS))
    assert (config.tick_time, config.min_session_timeout, config.max_session_timeout) == (3000, 6000, 60000)
    assert config.notes == ()


def test_every_field_has_a_row_and_every_row_a_field():
    assert {field.name for field in dataclasses.fields(Config)} == set(FIELDS)


# --- keyword arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "value", "allowed"),
    [
        ("client_port", 65536, "a whole number from 0 to 65535"),
        ("client_port", -1, "a whole number from 0 to 65535"),
        ("client_port", "2181", "a whole number from 0 to 65535"),
        ("client_port", True, "a whole number from 0 to 65535"),
        ("client_port_address", "a b", "a host name or an IP address, without a port"),
        ("client_port_address", "localhost:2181", "a host name or an IP address, without a port"),
        ("client_port_address", "127.0.0.1:2181", "a host name or an IP address, without a port"),
        ("client_port_address", "", "a host name or an IP address, without a port"),
        ("tick_time", 0, "a whole number from 1 to 107374182"),
        ("tick_time", -2000, "a whole number from 1 to 107374182"),
        ("max_session_timeout", 0, "a whole number from 1 to 2147483647 (or -1 for the default)"),
        ("skip_acl", "yes", "True or False"),
        ("skip_acl", 1, "True or False"),
        ("four_letter_words", {"ruok", "rouk"}, 'a set of "*" or any of conf cons'),
        ("four_letter_words", "*", 'a set of "*" or any of conf cons'),
        ("digest_algorithm", "SHA9", "MD5, SHA1, SHA-224"),
        ("super_digest", 5, "a str or None"),
        ("data_dir", 5, "a path or None"),
        ("data_dir", "a\0b", "a path or None"),
        ("snapshot_size_factor", 1.5, "a number from 0 to 1"),
        ("snapshot_compression_method", "zip", "empty or gz or snappy"),
        ("enforce_auth_schemes", "digest", "a tuple of str"),
        ("servers", ("server.1=a:1:2",), "a tuple of (number, text) pairs"),
        ("server_id", 256, "a whole number from 0 to 255"),
        ("max_outbox_bytes", 0, "a whole number from 1 to 2147483647"),
        ("jute_max_buffer", 0, "a whole number from 1 to 2147483647"),
    ],
)
def test_an_impossible_keyword_is_refused(keyword, value, allowed):
    message = keyword_refusal(**{keyword: value})
    assert message.startswith(f"{keyword}={value!r}: must be {allowed}")


def test_config_is_frozen_and_hashable():
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.client_port = 1
    assert hash(config) == hash(Config())


def test_keywords_are_normalized():
    config = Config(
        data_dir="data",
        client_port_address="[::1]",
        four_letter_words={"ruok"},
        enforce_auth_schemes=["ip"],
        peer_type="Observer",
    )
    assert config.data_dir == Path("data")
    assert config.client_port_address == "::1"
    assert config.four_letter_words == {"ruok", "srvr"}
    assert config.enforce_auth_schemes == ("ip",)
    assert config.peer_type == "observer"


def test_session_timeouts_follow_the_tick():
    config = Config(tick_time=100)
    assert (config.min_session_timeout, config.max_session_timeout) == (200, 2000)
    config = Config(tick_time=100, min_session_timeout=0, max_session_timeout=9)
    assert (config.min_session_timeout, config.max_session_timeout) == (0, 9)


def test_max_write_queue_poll_time_is_a_third_of_flush_delay():
    assert Config(flush_delay=30).max_write_queue_poll_time == 10
    assert Config(flush_delay=30, max_write_queue_poll_time=0).max_write_queue_poll_time == 0


def test_extra_size_follows_jute_max_buffer_down_to_a_minimum():
    assert Config(jute_max_buffer=5000).jute_max_buffer_extra_size == 5000
    assert Config(jute_max_buffer=500).jute_max_buffer_extra_size == 1024


def test_the_super_digest_is_not_printed():
    assert "secret" not in repr(Config(super_digest="super:secret"))


def test_min_session_timeout_must_not_exceed_max():
    message = keyword_refusal(min_session_timeout=500, max_session_timeout=400)
    assert message.startswith("min_session_timeout=500: ")
    assert message.endswith("minSessionTimeout (500) must not be larger than maxSessionTimeout (400)")


def test_an_unknown_override_is_refused_with_a_suggestion():
    assert (
        refusal(None, overrides={"clientport": 1})
        == "clientport: unknown keyword – did you mean client_port?"
    )


def test_replace_keeps_notes_once(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS, "maxBatchSize=10", "maxResponseCacheSize=0"))
    assert len(config.notes) == 2
    assert dataclasses.replace(config, client_port=0).notes == config.notes


# --- what each key means ----------------------------------------------------------------------------------

# For every row with a field: text that is not the default, and what the field becomes.
EXAMPLES = {
    "clientPort": ("0", 0),
    "clientPortAddress": ("0.0.0.0", "0.0.0.0"),
    "clientPortListenBacklog": ("100", 100),
    "tickTime": ("100", 100),
    "minSessionTimeout": ("1000", 1000),
    "maxSessionTimeout": ("100000", 100000),
    "maxClientCnxns": ("0", 0),
    "maxCnxns": ("10", 10),
    "nio.sessionlessCnxnTimeout": ("500", 500),
    "clientTcpKeepAlive": ("true", True),
    "4lw.commands.whitelist": ("ruok, mntr ,stat", {"ruok", "mntr", "stat", "srvr"}),
    "readonlymode.enabled": ("true", True),
    "jute.maxbuffer": ("0x1000", 4096),
    "globalOutstandingLimit": ("10", 10),
    "extendedTypesEnabled": ("true", True),
    "enforceQuota": ("TRUE", True),
    "znode.container.checkIntervalMs": ("100", 100),
    "znode.container.maxPerMinute": ("60000", 60000),
    "znode.container.maxNeverUsedIntervalMs": ("5000000000", 5_000_000_000),
    "digest.enabled": ("false", False),
    "closeSessionTxn.enabled": ("false", False),
    "reconfigEnabled": ("true", True),
    "skipACL": ("yes", True),
    "DigestAuthenticationProvider.enabled": ("false", False),
    "DigestAuthenticationProvider.superDigest": ("super:abc=", "super:abc="),
    "DigestAuthenticationProvider.digestAlg": ("SHA-256", "SHA-256"),
    "enforce.auth.enabled": ("false", False),
    "enforce.auth.schemes": ("ip, digest", ("ip", "digest")),
    "dataDir": ("/var/lib/zk", Path("/var/lib/zk")),
    "dataLogDir": ("log", Path("log")),
    "forceSync": ("no", False),
    "snapCount": ("10", 10),
    "preAllocSize": ("100", 100),
    "txnLogSizeLimitInKb": ("1000", 1000),
    "snapSizeLimitInKb": ("0", 0),
    "snapshotSizeFactor": ("-1", -1.0),
    "commitLogCount": ("1000", 1000),
    "fsync.warningthresholdms": ("20", 20),
    "snapshot.compression.method": ("GZ", "gz"),
    "snapshot.trust.empty": ("true", True),
    "serializeLastProcessedZxid.enabled": ("false", False),
    "datadir.autocreate": ("false", False),
    "db.autocreate": ("false", False),
    "autopurge.snapRetainCount": ("5", 5),
    "autopurge.purgeInterval": ("1", 1),
    "flushDelay": ("9", 9),
    "maxWriteQueuePollTime": ("3", 3),
    "maxBatchSize": ("100", 100),
    "jute.maxbuffer.extrasize": ("2048", 2048),
    "server.*": ("localhost:2888:3888", ((1, "localhost:2888:3888"),)),
    "group.*": ("1:2:3", ((1, "1:2:3"),)),
    "weight.*": ("2", ((1, "2"),)),
    "standaloneEnabled": ("true", True),
    "peerType": ("observer", "observer"),
    "initLimit": ("10", 10),
    "syncLimit": ("5", 5),
    "connectToLearnerMasterLimit": ("2", 2),
    "electionAlg": ("3", "3"),
    "quorumListenOnAllIPs": ("true", True),
    "leaderServes": ("no", False),
    "syncEnabled": ("false", False),
    "observer.syncEnabled": ("false", False),
    "observerMasterPort": ("2191", 2191),
    "observerMaster.sizeLimit": ("0x100000", 1048576),
    "observer.reconnectDelayMs": ("100", 100),
    "observer.election.DelayMs": ("100", 100),
    "localSessionsEnabled": ("true", True),
    "localSessionsUpgradingEnabled": ("true", True),
    "cnxTimeout": ("100", 100),
    "quorumCnxnTimeoutMs": ("100", 100),
    "tcpKeepAlive": ("true", True),
    "electionPortBindRetry": ("0", 0),
    "fastleader.minNotificationInterval": ("100", 100),
    "fastleader.maxNotificationInterval": ("1000", 1000),
    "leader.maxTimeToWaitForEpoch": ("100", 100),
    "leader.maxConcurrentSnapSyncs": ("1", 1),
    "leader.maxConcurrentDiffSyncs": ("1", 1),
    "leaderConnectDelayDuringRetryMs": ("50", 50),
    "forceSnapshotSync": ("true", True),
    "multiAddress.enabled": ("true", True),
    "multiAddress.reachabilityCheckEnabled": ("false", False),
    "multiAddress.reachabilityCheckTimeoutMs": ("500", 500),
    "oraclePath": ("/oracle", Path("/oracle")),
    "pyzkserver.maxWatchesPerConnection": ("10", 10),
    "pyzkserver.maxSessions": ("10", 10),
    "pyzkserver.maxOutboxBytes": ("0x100000", 1048576),
}


def ways_to_give(key):
    """The file's key, or None, and the names that -D takes."""
    name = key.name.replace("*", "1")
    return {
        Where.FILE: (name, []),
        Where.PROPERTY: (name, [f"zookeeper.{name}"]),
        Where.BARE: (name, [f"zookeeper.{name}", name]),
        Where.JVM: (None, [name]),
        Where.OURS: (name, [name]),
        Where.KEYWORD: (None, []),
    }[key.where]


WITH_FIELD = [key for key in TABLE.values() if key.field and key.where is not Where.KEYWORD]


def test_every_setting_has_an_example():
    # These have no value that is accepted but the default.
    assert {key.name for key in WITH_FIELD} - set(EXAMPLES) == {"dynamicConfigFile", "emulate353TTLNodes"}


def test_what_nothing_reads_says_so():
    """A setting that is taken and changes nothing would be a promise: it has an effect, a note, or is refused."""
    package = Path(pyzkserver.__file__).parent
    source = "\n".join(path.read_text() for path in package.rglob("*.py"))
    silent = [key.field for key in TABLE.values() if key.field and not (key.note or key.refused)]
    # dynamicConfigFile is read with the lines about the members, before there is a Config.
    unread = [field for field in silent if not re.search(rf"\.{field}\b", source)]
    assert unread == ["dynamic_config_file"]


@pytest.mark.parametrize("key", [key for key in WITH_FIELD if key.name in EXAMPLES], ids=lambda key: key.name)
def test_every_setting_reaches_its_field(key, zoo_cfg):
    text, expected = EXAMPLES[key.name]
    in_file, properties = ways_to_give(key)
    if in_file:
        address = [line for line in ADDRESS if not line.startswith(f"{in_file}=")]
        assert getattr(load(zoo_cfg(*address, f"{in_file}={text}")), key.field) == expected
    for name in properties:
        assert getattr(load(None, {name: text}), key.field) == expected
    assert in_file or properties


@pytest.mark.parametrize(
    "key",
    [
        key
        for key in WITH_FIELD
        if type(key.kind).__name__ in {"Whole", "Boolean", "Choice", "Fraction", "Numbered"}
    ],
    ids=lambda key: key.name,
)
def test_every_setting_refuses_nonsense_with_its_place(key, zoo_cfg):
    in_file, properties = ways_to_give(key)
    if in_file:
        message = refusal(zoo_cfg("# a comment", "", f"{in_file}= non sense "))
        assert message == f"zoo.cfg:3: {in_file}=non sense: must be {key.kind.allowed}"
    for name in properties:
        assert refusal(None, {name: "non sense"}) == f"-D{name}=non sense: must be {key.kind.allowed}"


def test_star_means_all_four_letter_words(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS, "4lw.commands.whitelist=stat, *"))
    assert config.four_letter_words == FOUR_LETTER_WORDS
    assert len(FOUR_LETTER_WORDS) == 18


def test_words_that_only_other_releases_have_are_noted_and_left_out(zoo_cfg):
    """Apache's server starts with any words in the list; what cannot be one is taken for a mistake."""
    config = load(zoo_cfg(*ADDRESS, "4lw.commands.whitelist=ruok, reqs ,stat,kill"))
    assert config.four_letter_words == {"ruok", "stat", "srvr"}
    assert [note for note in config.notes if "reqs" in note] == [
        "zoo.cfg:3: 4lw.commands.whitelist names reqs kill, which this server does not know"
    ]


def test_read_only_mode_answers_isro():
    assert load(None, {"readonlymode.enabled": "true"}).four_letter_words == {"srvr", "isro"}


@pytest.mark.parametrize(
    ("name", "hashlib_name"),
    [("SHA1", "sha1"), ("sha-256", "sha256"), ("SHA256", "sha256"), ("SHA3-256", "sha3_256"), ("md5", "md5")],
)
def test_digest_algorithms_are_known_to_hashlib(name, hashlib_name):
    config = Config(digest_algorithm=name)
    assert config.digest_algorithm == name
    assert config.digest_hashlib_name == hashlib_name
    assert hashlib.new(config.digest_hashlib_name)


# --- numbers and switches as Java reads them --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("+10", 10), ("0x10", 16), ("0X10", 16), ("#10", 16), ("010", 8)],
)
def test_properties_are_decoded(text, value):
    assert load(None, {"zookeeper.maxCnxns": text}).max_cnxns == value


@pytest.mark.parametrize("text", ["", " 10", "1_0", "10.0", "1e3", "0x", "08", "ten", "２", "99999999999"])
def test_what_integer_decode_refuses_is_refused(text):
    assert "must be a whole number" in refusal(None, {"zookeeper.maxCnxns": text})


def test_keys_of_the_file_are_decimal(zoo_cfg):
    assert load(zoo_cfg(*ADDRESS, "tickTime=0100")).tick_time == 100
    for text in ("0x100", "1_0", "1 0", "+", ""):
        assert refusal(zoo_cfg(*ADDRESS, f"tickTime={text}")).startswith(
            f"zoo.cfg:3: tickTime={text}: must be"
        )


@pytest.mark.parametrize("text", ["yes", "1", "on", ""])
def test_switches_are_true_or_false(text, zoo_cfg):
    assert (
        refusal(zoo_cfg(f"reconfigEnabled={text}"))
        == f"zoo.cfg:1: reconfigEnabled={text}: must be true or false"
    )
    message = f"-Dzookeeper.enforceQuota={text}: must be true or false"
    assert refusal(None, {"zookeeper.enforceQuota": text}) == message


@pytest.mark.parametrize("key", ["skipACL", "forceSync", "leaderServes"])
@pytest.mark.parametrize("text", ["true", "YES", ""])
def test_some_switches_are_yes_or_no(key, text):
    assert refusal(None, {f"zookeeper.{key}": text}) == f"-Dzookeeper.{key}={text}: must be yes or no"


# --- which value wins -------------------------------------------------------------------------------------


def test_the_file_wins_over_properties_and_keywords_over_both(zoo_cfg):
    path = zoo_cfg(*ADDRESS, "maxCnxns=2")
    assert load(path, {"zookeeper.maxCnxns": "1"}).max_cnxns == 2
    assert load(path, {"zookeeper.maxCnxns": "1"}, {"max_cnxns": 3}).max_cnxns == 3
    assert load(None, {"zookeeper.maxCnxns": "1"}, {"max_cnxns": 3}).max_cnxns == 3


def test_the_property_wins_over_the_bare_property(zoo_cfg):
    both = {"zookeeper.fsync.warningthresholdms": "1", "fsync.warningthresholdms": "2"}
    assert load(None, both).fsync_warning_threshold_ms == 1
    assert load(None, dict(reversed(both.items()))).fsync_warning_threshold_ms == 1
    assert load(zoo_cfg(*ADDRESS, "fsync.warningthresholdms=3"), both).fsync_warning_threshold_ms == 3


def test_observer_sync_enabled_wins_over_sync_enabled(zoo_cfg):
    path = zoo_cfg(*ADDRESS, "syncEnabled=true")
    assert load(path, {"zookeeper.observer.syncEnabled": "false"}).sync_enabled is False
    assert load(zoo_cfg(*ADDRESS, "observer.syncEnabled=false", "syncEnabled=true")).sync_enabled is False


def test_an_override_is_not_blamed_on_the_file(zoo_cfg):
    path = zoo_cfg(*ADDRESS, "maxSessionTimeout=100000")
    message = refusal(path, overrides={"min_session_timeout": 5, "max_session_timeout": 4})
    assert message.startswith("min_session_timeout=5: ")


# --- keys that do not exist -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("tickTme", " – did you mean tickTime?"),
        ("maxclientcnxns", " – did you mean maxClientCnxns?"),
        ("zookeeper.snapCount", " – did you mean snapCount?"),
        ("pyzkserver.maxOutboxByte", " – did you mean pyzkserver.maxOutboxBytes?"),
        ("notes", ""),
        ("qqqqqqqq", ""),
        ("server.", " – did you mean server.*?"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(key, hint, zoo_cfg):
    assert refusal(zoo_cfg("tickTime=2000", f"{key}=5")) == f"zoo.cfg:2: unknown key {key}{hint}"


def test_an_unknown_zookeeper_property_is_noted():
    config = load(None, {"zookeeper.snapCont": "5", "zookeeper.server_id": "5"})
    assert set(config.notes) == {
        "-Dzookeeper.snapCont is unknown, and ignored – did you mean snapCount?",
        "-Dzookeeper.server_id is unknown, and ignored",
    }
    assert config.snap_count == 100000


def test_an_unknown_property_of_ours_is_refused():
    message = refusal(None, {"pyzkserver.maxSession": "5"})
    assert message == "-Dpyzkserver.maxSession: unknown property – did you mean pyzkserver.maxSessions?"


def test_the_jvms_own_properties_pass_in_silence():
    properties = {
        "java.awt.headless": "true",
        "java.security.auth.login.config": "/jaas.conf",
        "log4j.configuration": "file:log4j.properties",
        "com.sun.management.jmxremote": "",
        "com.sun.management.jmxremote.local.only": "false",
        "file.encoding": "UTF-8",
        "zookeeper.log.dir": "/var/log",
        "zookeeper.log.file": "zookeeper.log",
        "zookeeper.root.logger": "INFO,CONSOLE",
        "zookeeper.jmx.log4j.disable": "true",
        "sun.security.krb5.debug": "true",
        "tickTime": "nonsense, and not a property of Apache's",
        "snapCount": "nor is this one without its prefix",
    }
    assert load(None, properties) == Config()


def test_keys_of_the_file_are_no_properties():
    config = load(None, {"zookeeper.tickTime": "1"})
    assert config.tick_time == 2000
    assert config.notes == (
        "-Dzookeeper.tickTime has no effect, as in Apache's server: tickTime belongs into zoo.cfg",
    )


def test_properties_of_the_jvm_are_no_keys_of_the_file(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS, "jute.maxbuffer=100"), {"zookeeper.readonlymode.enabled": "true"})
    assert config.jute_max_buffer == 1048575
    assert config.read_only_mode_enabled is False
    assert set(config.notes) == {
        "zoo.cfg:3: jute.maxbuffer has no effect in a zoo.cfg, as in Apache's server:"
        " pass -Djute.maxbuffer=100",
        "-Dzookeeper.readonlymode.enabled has no effect, as in Apache's server: pass -Dreadonlymode.enabled",
    }


# --- combinations -----------------------------------------------------------------------------------------


def test_min_above_max_names_the_line(zoo_cfg):
    message = refusal(zoo_cfg(*ADDRESS, "tickTime=2000", "maxSessionTimeout=3000"))
    assert message == (
        "zoo.cfg:4: maxSessionTimeout=3000:"
        " minSessionTimeout (4000) must not be larger than maxSessionTimeout (3000)"
    )


def test_enforced_authentication_needs_schemes_that_exist(zoo_cfg):
    on = "enforce.auth.enabled=true"
    assert refusal(zoo_cfg(*ADDRESS, on)).startswith(
        "zoo.cfg:3: enforce.auth.enabled=true: with enforce.auth.enabled"
    )
    message = refusal(zoo_cfg(*ADDRESS, on, "enforce.auth.schemes=digest,sasl"))
    assert message.startswith("zoo.cfg:4: enforce.auth.schemes=digest,sasl: ")
    assert message.endswith("must name one or more of the schemes that can be enforced: digest, ip")
    off = "DigestAuthenticationProvider.enabled=false"
    assert refusal(zoo_cfg(*ADDRESS, on, off, "enforce.auth.schemes=digest")).endswith("can be enforced: ip")
    assert load(zoo_cfg(*ADDRESS, on, "enforce.auth.schemes=digest")).enforce_auth_enabled is True
    assert load(zoo_cfg(*ADDRESS, "enforce.auth.schemes=sasl")).enforce_auth_schemes == ("sasl",)


def test_ttl_nodes_limit_the_server_id():
    assert Config(server_id=255).server_id == 255
    assert keyword_refusal(server_id=255, extended_types_enabled=True) == (
        "server_id=255: must be at most 254 with extendedTypesEnabled"
    )


def test_a_home_directory_that_is_none(zoo_cfg):
    """A shell replaces ~, and nobody else does: data would go where nobody looks for it."""
    said = "begins with ~, which a shell replaces; here it is a directory of that name"
    assert load(zoo_cfg(*ADDRESS, "dataDir=~/data")).notes == (f"zoo.cfg:3: dataDir {said}",)
    assert f"data_log_dir {said}" in Config(data_dir=Path("/data"), data_log_dir=Path("~/log")).notes
    assert Config(data_dir=Path("/~/data")).notes == ()


def test_numbers_below_a_minimum_are_raised_with_a_note(zoo_cfg):
    path = zoo_cfg(*ADDRESS, "autopurge.snapRetainCount=1", "maxClientCnxns=-1")
    config = load(path, {"zookeeper.snapCount": "1", "zookeeper.commitLogCount": "5"})
    assert config.auto_purge_snap_retain_count == 3
    assert config.max_client_cnxns == 0
    assert config.snap_count == 2
    assert config.commit_log_count == 500
    for note in (
        "zoo.cfg:3: autopurge.snapRetainCount is raised from 1 to 3",
        "zoo.cfg:4: maxClientCnxns is raised from -1 to 0",
        "-Dzookeeper.snapCount is raised from 1 to 2",
        "-Dzookeeper.commitLogCount is raised from 5 to 500",
    ):
        assert note in config.notes
    assert "snap_count is raised from 0 to 2" in Config(snap_count=0).notes


def test_a_keyword_below_zero_is_refused():
    """A file may say -1, which Apache's server takes for 0; in a program it is a mistake, not "no limit"."""
    assert keyword_refusal(max_client_cnxns=-1) == (
        "max_client_cnxns=-1: must be a whole number from 0 to 2147483647"
    )
    assert keyword_refusal(snap_count=-3).startswith("snap_count=-3: must be a whole number from 2 to ")


def test_notes_do_not_repeat_values(zoo_cfg):
    path = zoo_cfg(
        *ADDRESS, "ssl.keyStore.password=hush", "DigestAuthenticationProvider.superDigest=super:hush"
    )
    assert not any("hush" in note for note in load(path).notes)


# --- refused and noted ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["sslQuorum", "portUnification", "sessionRequireClientSASLAuth", "emulate353TTLNodes"]
)
def test_what_would_mislead_is_refused(key, zoo_cfg):
    message = refusal(zoo_cfg(*ADDRESS, f"{key}=true"))
    assert message == f"zoo.cfg:3: {key}=true: {TABLE[key].refused}: remove this setting"
    assert load(zoo_cfg(*ADDRESS, f"{key}=false")).notes == ()


def test_tls_alone_is_refused(zoo_cfg):
    message = refusal(zoo_cfg("secureClientPort=2281"))
    assert message.startswith("zoo.cfg:1: secureClientPort: TLS is not served yet")


def test_electionalg_other_than_3_is_refused(zoo_cfg):
    assert refusal(zoo_cfg(*ADDRESS, "electionAlg=0")) == "zoo.cfg:3: electionAlg=0: must be 3"


WITHOUT_FIELD = [key for key in TABLE.values() if not key.field and not key.refused]


@pytest.mark.parametrize("key", WITHOUT_FIELD, ids=lambda key: key.name)
def test_what_has_no_effect_is_accepted_and_noted(key, zoo_cfg):
    text = {"Boolean": "true", "Whole": "1", "Host": "localhost"}.get(type(key.kind).__name__, "text")
    in_file, properties = ways_to_give(key)
    if in_file:
        needed = ["secureClientPort=1"] if key.name == "secureClientPortAddress" else []
        config = load(zoo_cfg(*ADDRESS, f"{in_file}={text}", *needed))
        expected = (f"zoo.cfg:3: {in_file} {key.note}",) if key.note else ()
        assert config.notes[: len(expected) or None] == expected
    for name in properties:
        assert load(None, {name: text}).notes == ((f"-D{name} {key.note}",) if key.note else ())


def test_the_data_dir_is_taken_as_it_is(zoo_cfg):
    config = load(zoo_cfg(*ADDRESS, "dataDir=/data"))
    assert (config.data_dir, config.notes) == (Path("/data"), ())


def test_a_setting_without_effect_that_has_its_default_is_not_noted(zoo_cfg):
    assert load(zoo_cfg(*ADDRESS, "snapCount=100000", "maxBatchSize=1000")).notes == ()
    assert len(load(zoo_cfg(*ADDRESS, "maxBatchSize=10")).notes) == 1


# --- the manual -------------------------------------------------------------------------------------------


def manual_tables():
    return "\n".join(f"\n### {title}\n\n{_table(keys)}" for title, keys in SECTIONS.items())


def _table(keys):
    parts = []
    if rows := [_row(key) for key in keys if key.field and key.name != "notes"]:
        head = ["| key | where | default | allowed | keyword | meaning |", "|---|---|---|---|---|---|"]
        parts.append("\n".join([*head, *rows]) + "\n")
    groups = defaultdict(list)
    for key in keys:
        if not key.field:
            reason = f"refused: {key.refused}" if key.refused else key.note or key.about
            groups[reason, key.where].append(f"`{key.name}`")
    parts += [
        f"- {reason} ({where.value}): {', '.join(names)}\n" for (reason, where), names in groups.items()
    ]
    return "\n".join(parts)


def _row(key: Key) -> str:
    name = "" if key.where is Where.KEYWORD else f"`{key.name}`"
    default = next(field.default for field in dataclasses.fields(Config) if field.name == key.field)
    if isinstance(default, bool):
        shown = key.kind.allowed.split(" or ")[0 if default else 1]
    elif isinstance(default, frozenset | tuple):
        shown = " ".join(sorted(default))
    else:
        shown = "" if default is None else str(default)
    meaning = f"{key.about} ({key.refused or key.note})" if key.refused or key.note else key.about
    cells = [name, key.where.value, shown, key.kind.allowed, f"`{key.field}`", meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_the_manual_has_every_setting():
    _, mark, tables = MANUAL.read_text(encoding="utf-8").partition(MARK)
    assert mark
    assert tables == manual_tables()
    for key in TABLE.values():
        assert f"`{key.name}`" in tables or key.where is Where.KEYWORD


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["", "", "clientPort=70000"], "zoo.cfg:3: clientPort=70000: must be a whole number from 0 to 65535"),
        ([""] * 8 + ["tickTme=1"], "zoo.cfg:9: unknown key tickTme – did you mean tickTime?"),
    ],
)
def test_the_manuals_messages_are_real(lines, message, zoo_cfg):
    assert refusal(zoo_cfg(*lines)) == message
    assert f"    {message}\n" in MANUAL.read_text(encoding="utf-8")


if __name__ == "__main__":
    before, _, _ = MANUAL.read_text(encoding="utf-8").partition(MARK)
    MANUAL.write_text(before + MARK + manual_tables(), encoding="utf-8")
