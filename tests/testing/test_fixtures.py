"""The pytest plugin's fixtures, options and reports, in test runs of their own."""

import sys

import pytest

from tests.test_plugin import installed  # noqa: F401  a fixture

pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    # In this process, and so in the current directory of pytester.
    return pytester.runpytest_inprocess("-p", "no:randomly", "-W", "error", *options)


def test_the_marker(installed: pytest.Pytester) -> None:  # noqa: F811
    """Contents and settings of one test's server; of a module's and a test's marker both count, the closer more."""
    result = run(
        installed,
        """
        import pytest

        pytestmark = pytest.mark.zookeeper(tick_time=100, tree={"/module": b""})

        def test_of_the_module(zookeeper):
            assert zookeeper.config.tick_time == 100
            assert zookeeper.tree() == {"/module": b""}

        @pytest.mark.zookeeper(tree={"/test": b""}, enforce_quota=True)
        def test_of_its_own(zookeeper):
            assert zookeeper.config.tick_time == 100
            assert zookeeper.config.enforce_quota
            assert zookeeper.tree() == {"/test": b""}

        @pytest.mark.zookeeper({"/test": b""})
        def test_without_its_keyword(zookeeper):
            assert zookeeper.config.tick_time == 100
            assert zookeeper.tree() == {"/test": b""}

        @pytest.mark.zookeeper({"/test": b""}, {"/other": b""})
        def test_of_two_trees(zookeeper):
            pass
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*the marker zookeeper takes one tree, and keywords of pyzkserver.Config*"])


def test_ini_options(installed: pytest.Pytester) -> None:  # noqa: F811
    """For all servers of the run, the session's too; a marker is stronger."""
    installed.makeini(
        """
        [pytest]
        zookeeper_tree = config.yaml
        zookeeper_options =
            tick_time=100
            enforce_quota = true
        """
    )
    installed.makefile(".yaml", config='/a: "1"\n')
    result = run(
        installed,
        """
        import pytest

        def test_fresh(zookeeper):
            assert (zookeeper.config.tick_time, zookeeper.config.enforce_quota) == (100, True)
            assert zookeeper.tree() == {"/a": b"1"}

        @pytest.mark.zookeeper(tick_time=200)
        def test_marked(zookeeper):
            assert (zookeeper.config.tick_time, zookeeper.config.enforce_quota) == (200, True)

        def test_of_session(zookeeper_session):
            assert zookeeper_session.config.tick_time == 100
            assert zookeeper_session.tree() == {"/a": b"1"}
        """,
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("tick_tim=100", "*zookeeper_options: tick_tim: unknown*did you mean tick_time?*"),
        ("tick_time=soon", "*zookeeper_options: tick_time=soon: must be a whole number*"),
        ("tick_time", "*zookeeper_options: 'tick_time' is not name=value*"),
    ],
)
def test_ini_options_that_are_wrong(installed: pytest.Pytester, options: str, told: str) -> None:  # noqa: F811
    """The line, and what would be right."""
    installed.makeini(f"[pytest]\nzookeeper_options = {options}\n")
    result = run(installed, "def test_it(zookeeper): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])


def test_one_server_for_the_session(installed: pytest.Pytester) -> None:  # noqa: F811
    """The same for all tests, and for fixtures of the session; whatever a test leaves is gone for the next."""
    result = run(
        installed,
        """
        import pytest
        from kazoo.client import KazooClient

        ports = set()

        @pytest.fixture(scope="session")
        def app(zookeeper_session):
            client = KazooClient(zookeeper_session.hosts)
            client.start(20)
            zookeeper_session.keep(client)
            yield client
            client.stop()
            client.close()

        @pytest.mark.parametrize("number", range(3))
        def test_with_a_client(zookeeper_session, kazoo_client, number):
            ports.add(zookeeper_session.port)
            assert zookeeper_session.tree() == {}
            kazoo_client.create("/a", ephemeral=True)
            kazoo_client.get("/a", watch=print)

        @pytest.mark.parametrize("number", range(3))
        def test_with_one_that_stays(zookeeper_session, app, number):
            ports.add(zookeeper_session.port)
            assert zookeeper_session.tree() == {}
            app.create("/b")
            assert [s.session_id for s in zookeeper_session.sessions()] == [app.client_id[0]]

        def test_it_was_one():
            assert len(ports) == 1
        """,
    )
    result.assert_outcomes(passed=7)


def test_the_marker_has_no_power_over_the_session(installed: pytest.Pytester) -> None:  # noqa: F811
    """It would be ignored in silence otherwise."""
    result = run(
        installed,
        """
        import pytest

        @pytest.mark.zookeeper(tick_time=100)
        def test_it(zookeeper_session):
            pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the marker zookeeper is for the fixture zookeeper*"])


def test_kazoo_client(installed: pytest.Pytester) -> None:  # noqa: F811
    """Connected, of the server that the test uses, and stopped when the test ends, even one that fails."""
    result = run(
        installed,
        """
        import pytest

        clients = []

        def test_alone(kazoo_client):
            clients.append(kazoo_client)
            kazoo_client.create("/a")

        def test_of_the_fresh_server(kazoo_client, zookeeper):
            kazoo_client.create("/a")
            assert zookeeper.exists("/a")

        def test_of_the_sessions_server(kazoo_client, zookeeper_session):
            kazoo_client.create("/a")
            assert zookeeper_session.exists("/a")

        def test_that_fails(kazoo_client):
            clients.append(kazoo_client)
            assert False

        def test_all_were_stopped():
            assert len(clients) == 2
            assert not any(client.connected for client in clients)
        """,
    )
    result.assert_outcomes(passed=4, failed=1)


def test_without_kazoo(installed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """It says what is missing, and that nothing else is."""
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    result = run(installed, "def test_it(kazoo_client): pass\ndef test_other(zookeeper): pass")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*kazoo is not installed: pip install kazoo*"])


def test_a_failure_shows_what_the_server_held(installed: pytest.Pytester) -> None:  # noqa: F811
    """Tree, sessions and watches stand in the report; those of a test that passes do not."""
    result = run(
        installed,
        """
        def test_that_passes(zookeeper):
            zookeeper.put({"/of/the/other": b""})

        def test_that_fails(kazoo_client):
            kazoo_client.create("/job-1", b"state", ephemeral=True)
            assert False

        def test_of_the_session_that_fails(zookeeper_session):
            zookeeper_session.put({"/of/the/session": b""})
            assert False
        """,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*- ZooKeeper -*",
            "127.0.0.1:*, 1 znode:",
            "  /job-1  5 bytes 'state'  ephemeral of 0x*",
            "1 session:",
            "  0x*  connected from 127.0.0.1:*, timeout *, 1 ephemeral",
            "*- ZooKeeper -*",
            "  /of/the/session  empty",
        ]
    )
    result.stdout.no_fnmatch_line("*/of/the/other*")


def test_a_failed_assertion_shows_the_tests_line(installed: pytest.Pytester) -> None:  # noqa: F811
    """And what is different; how the assertion found it is nobody's business."""
    result = run(
        installed,
        """
        def test_data(zookeeper):
            zookeeper.assert_data("/a", b"x", within=0.01)

        def test_rule(zookeeper):
            with zookeeper.faults.hold("create"):
                pass

        def test_hit(zookeeper):
            with zookeeper.faults.hold("create") as held:
                held.wait_hit(0.01)

        def test_recording(zookeeper):
            zookeeper.recording.wait_for("create", timeout=0.01)
        """,
    )
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            ">*zookeeper.assert_data(*",
            "E *AssertionError: /a does not exist*",
            ">*with zookeeper.faults.hold(*",
            "E *hold('create') was never hit*",
            ">*held.wait_hit(*",
            "E *was hit 0 of 1 times*",
            ">*zookeeper.recording.wait_for(*",
            "E *0 of 1 came*",
        ]
    )
    result.stdout.no_fnmatch_line("> *raise *")


def test_an_ensemble(installed: pytest.Pytester) -> None:  # noqa: F811
    """Three members, or as many as the marker says; a failure shows what each of them held."""
    result = run(
        installed,
        """
        import pytest

        def test_three(zookeeper_ensemble, kazoo_client):
            assert len(zookeeper_ensemble) == 3
            kazoo_client.create("/a", b"1")
            assert zookeeper_ensemble.leader.tree() == {"/a": b"1"}
            assert zookeeper_ensemble.member_of(kazoo_client).is_running

        @pytest.mark.zookeeper_ensemble(2, tree={"/b": b"2"})
        def test_marked(zookeeper_ensemble):
            assert len(zookeeper_ensemble) == 2
            for member in zookeeper_ensemble.members.values():
                member.assert_tree({"/b": b"2"}, within=5)
            assert False
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*assert False", "*- ZooKeeper member 1 -*", "  /b  1 byte '2'", "*- ZooKeeper member 2 -*"]
    )


def test_side_by_side_with_xdist(installed: pytest.Pytester) -> None:  # noqa: F811
    """Each worker has servers of its own; nobody's port is anybody else's."""
    installed.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(12))
        def test_it(zookeeper, zookeeper_session, number):
            assert zookeeper.tree() == zookeeper_session.tree() == {}
            zookeeper.put({"/a": b""})
            zookeeper_session.put({"/a": b""})
        """
    )
    result = installed.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:hypothesispytest", "-n", "2", "-W", "error"
    )
    result.assert_outcomes(passed=12)


def test_what_a_user_reads(installed: pytest.Pytester) -> None:  # noqa: F811
    """pytest --fixtures, --markers and --help tell of all of it."""
    fixtures = installed.runpytest_inprocess("--fixtures", "-p", "no:randomly")
    fixtures.stdout.fnmatch_lines(
        ["zookeeper -- *", "zookeeper_session [[]session scope[]] -- *", "kazoo_client -- *"]
    )
    markers = installed.runpytest_inprocess("--markers", "-p", "no:randomly")
    markers.stdout.fnmatch_lines(["@pytest.mark.zookeeper(tree=None, *"])
    options = installed.runpytest_inprocess("--help", "-p", "no:randomly")
    options.stdout.fnmatch_lines(["*zookeeper_options (linelist):*", "*zookeeper_tree (paths):*"])
