"""Configuration files: real ones, the samples of conf/, and the syntax of Java's properties."""

import contextlib
from pathlib import Path

import pytest
from configuring import ADDRESS, refusal
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.config import FOUR_LETTER_WORDS, load, parse_properties
from pyzkserver.errors import ConfigError

ROOT = Path(__file__).parent.parent

# --- real files and command lines -------------------------------------------------------------------------

# What kazoo.testing.common (2.11) writes for one server, with the entries of kazoo.testing.harness.
KAZOO_ENTRIES = (
    "4lw.commands.whitelist=*",
    "reconfigEnabled=true",
    "localSessionsEnabled=true",
    "localSessionsUpgradingEnabled=true",
)
KAZOO_FILE = """
tickTime=2000
dataDir=/tmp/tmpzk/data
clientPort=20000
secureClientPort=20004
maxClientCnxns=0
admin.serverPort=20003
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
ssl.keyStore.location=/tmp/tmpzk/keystore.jks
ssl.keyStore.password=apassword
ssl.trustStore.location=/tmp/tmpzk/truststore.jks
ssl.trustStore.password=apassword
""" + "\n".join(KAZOO_ENTRIES)

KAZOO_DIGEST = "zookeeper.DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="
KAZOO_PROPERTIES = [
    "file.encoding=UTF-8",
    "readonlymode.enabled=true",
    "zookeeper.log.dir=/tmp/tmpzk/log",
    "zookeeper.root.logger=INFO,CONSOLE",
    "log4j.configuration=file:/tmp/tmpzk/log4j.properties",
    "java.awt.headless=true",
    "java.security.auth.login.config=/tmp/tmpzk/jaas.conf",
    KAZOO_DIGEST,
    "java.security.krb5.conf=/tmp/krb5.conf",
    "sun.security.krb5.debug=true",
]


def check_kazoos_server(path, words):
    config = load(path, dict(word.split("=", 1) for word in words))
    assert (config.client_port_address, config.client_port) == ("127.0.0.1", 20000)
    assert (config.tick_time, config.max_client_cnxns) == (2000, 0)
    assert config.four_letter_words == FOUR_LETTER_WORDS
    assert config.reconfig_enabled
    assert config.read_only_mode_enabled
    assert config.super_digest == "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    assert config.servers == ()
    prefix = f"{path}:"
    assert {note.removeprefix(prefix).split()[1] for note in config.notes} == {
        "secureClientPort",
        "admin.serverPort",
        "serverCnxnFactory",
        "authProvider.1",
        "ssl.keyStore.location",
        "ssl.keyStore.password",
        "ssl.trustStore.location",
        "ssl.trustStore.password",
        "is",  # there is no clientPortAddress
    }


def test_kazoos_harness_starts_a_standalone_server(zoo_cfg):
    check_kazoos_server(zoo_cfg(KAZOO_FILE), KAZOO_PROPERTIES)


def test_kazoos_harness_as_installed_starts_a_standalone_server(monkeypatch):
    common = pytest.importorskip("kazoo.testing.common")
    started = []

    class Popen:
        pid = returncode = 0

        def __init__(self, args):
            started.extend(args)

        def terminate(self):
            pass

        wait = terminate

    class Store:
        def save(self, path, password):
            pass

    monkeypatch.setattr(common.subprocess, "Popen", Popen)
    server = common.ManagedZooKeeper(
        "/nowhere",
        common.ServerInfo(1, 20000, 20004, 20001, 20002, 20003, "participant"),
        classpath="anything",
        configuration_entries=KAZOO_ENTRIES,
        java_system_properties=[f"-D{KAZOO_DIGEST}"],
        ssl_configuration={"truststore": Store(), "keystore": Store()},
    )
    server.run()
    words = [word.removeprefix("-D") for word in started if word.startswith("-D")]
    assert words
    check_kazoos_server(Path(started[-1]), words)
    server.destroy()


def test_the_file_of_apaches_container_image(zoo_cfg):
    config = load(
        zoo_cfg(
            "dataDir=/data",
            "dataLogDir=/datalog",
            "tickTime=2000",
            "initLimit=5",
            "syncLimit=2",
            "autopurge.snapRetainCount=3",
            "autopurge.purgeInterval=0",
            "maxClientCnxns=60",
            "standaloneEnabled=true",
            "admin.enableServer=true",
            "server.1=localhost:2888:3888;2181",
        )
    )
    assert (config.client_port, config.data_dir, config.init_limit) == (2181, Path("/data"), 5)


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.cfg")), ids=lambda path: path.name)
def test_the_samples_load_without_a_note(path):
    config = load(path)
    assert config.notes == ()
    assert config.client_port_address == "127.0.0.1"
    assert config.config_file == path


def test_the_samples_are_there():
    assert {path.name for path in (ROOT / "conf").glob("*.cfg")} == {"zoo.cfg", "zoo_test.cfg"}


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("*.cfg")), ids=lambda path: path.name)
def test_what_the_samples_comment_out_is_right_too(path, tmp_path):
    lines = path.read_text().splitlines()
    uncommented = [line[1:] if line[:1] == "#" and line[1:2].strip() else line for line in lines]
    assert len([line for line in uncommented if line and line[0] != "#"]) >= 4
    (tmp_path / "zoo.cfg").write_text("\n".join(uncommented))
    load(tmp_path / "zoo.cfg")


def test_a_missing_file_is_refused(tmp_path):
    path = tmp_path / "zoo.cfg"
    assert refusal(path) == f"{path}: cannot be read: No such file or directory"


# --- the syntax of properties files -----------------------------------------------------------------------


def properties(text):
    return {key: setting.value for key, setting in parse_properties(text, "x").items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1\nb:2\nc 3\nd\t=\t4\ne  :  5", {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}),
        ("a = b = c", {"a": "b = c"}),
        ("a==b", {"a": "=b"}),
        ("a", {"a": ""}),
        ("=v", {"": "v"}),
        ("  a=1  ", {"a": "1  "}),
        ("# c\n ! c\n\n \t\f\na=1", {"a": "1"}),
        ("a=1 # not a comment", {"a": "1 # not a comment"}),
        ("a=1\\\n   2", {"a": "12"}),
        ("a=1\\\r\n\t2\\\r3", {"a": "123"}),
        ("a=1\\\n# not a comment", {"a": "1# not a comment"}),
        ("# a comment does not go on \\\na=1", {"a": "1"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a=1\\", {"a": "1"}),
        ("\\\n# still a comment\na=1", {"a": "1"}),
        (r"a\ b\:c\=d=\tx\q\\", {"a b:c=d": "\txq\\"}),
        (r"a=\u0041\u00e9", {"a": "Aé"}),
        ("a=1\na=2\nb=3\na=4", {"b": "3", "a": "4"}),
        ("a=1\x0b2\x852", {"a": "1\x0b2\x852"}),
        ("", {}),
    ],
)
def test_properties_syntax(text, expected):
    assert properties(text) == expected


@pytest.mark.parametrize("text", ["a=\\u12", "a=\\uxyz0", "a\\u=1"])
def test_a_bad_unicode_escape_is_refused_with_its_line(text):
    with pytest.raises(ConfigError, match=r"^f:2: '\\\\u.* is not an escape"):
        parse_properties(f"\n{text}", "f")


def test_line_numbers_are_those_where_a_key_begins():
    settings = parse_properties("# one\n\na=1\\\n  2\\\n  3\nb=4\r\nc=5\ra=6\n", "f")
    assert {key: setting.line for key, setting in settings.items()} == {"b": 6, "c": 7, "a": 8}
    assert settings["b"].place == "f:6: b"


def test_the_file_is_latin_1(zoo_cfg):
    assert load(zoo_cfg(*ADDRESS, "dataDir=/dätä")).data_dir == Path("/dätä")


def escaped(text):
    return "".join(f"\\u{ord(c):04x}" if c in "\n\r\t\f" else f"\\{c}" if c in "\\=:#! " else c for c in text)


TEXTS = st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS))
def test_what_is_written_with_escapes_is_read_back(expected):
    text = "\n".join(f"{escaped(key)}={escaped(value)}" for key, value in expected.items())
    assert properties(text) == expected


@given(st.text())
def test_no_text_breaks_the_parser(text):
    with contextlib.suppress(ConfigError):
        parse_properties(text, "f")
