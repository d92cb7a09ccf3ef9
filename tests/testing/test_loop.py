"""The thread that the servers of a process share, and calls into it."""

import sys
import threading
import types
from typing import Any

import pytest
import trio

import pyzkserver
from pyzkserver.replica import upkeep
from pyzkserver.replica.replica import Replica

PATIENCE = 20


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pyzkserver"]


def test_many_servers_share_a_thread() -> None:
    """Hundreds of servers cost one thread; it is gone with the last of them, whoever that is."""
    servers = [pyzkserver.Server().start() for _ in range(5)]
    assert len(loop_threads()) == 1
    for server in servers[::2] + servers[1::2]:
        assert len(loop_threads()) == 1
        server.stop()
    assert loop_threads() == []


def test_servers_that_start_and_stop_in_many_threads() -> None:
    """The shared thread begins and ends many times while others come and go, and nobody is left out."""
    failures: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(30):
                with pyzkserver.Server() as server:
                    assert server.statistics()["znodes"] == 4
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert loop_threads() == []


def test_a_server_that_fails_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a thread, not their fate."""
    broken, keep = trio.Event(), upkeep.keep

    async def keep_or_break(replica: Replica, *anything: Any, **more: Any) -> None:
        if replica.sessions.tick != 1234:
            await keep(replica, *anything, **more)
        await broken.wait()
        raise ZeroDivisionError

    monkeypatch.setattr(upkeep, "keep", keep_or_break)
    with pyzkserver.Server() as healthy:
        sick = pyzkserver.Server(tick_time=1234).start()
        sick.run(broken.set)
        assert sick._ended.wait(PATIENCE)
        assert healthy.run(lambda: "well") == "well"
        with pytest.raises(ZeroDivisionError):
            sick.stop()


def test_run_returns_and_raises() -> None:
    """What the function returns or raises is what the caller gets."""
    with pyzkserver.Server() as server:
        assert server.run(lambda a, b: a + b, 1, 2) == 3
        assert server.run(threading.get_ident) == loop_threads()[0].ident
        with pytest.raises(ZeroDivisionError):
            server.run(lambda: 1 // 0)
        with pytest.raises(KeyboardInterrupt):
            server.run(raise_keyboard_interrupt)
        assert server.run(lambda: "still here") == "still here"


def raise_keyboard_interrupt() -> None:
    raise KeyboardInterrupt


def test_run_takes_coroutine_functions() -> None:
    """They run as tasks of the server's Trio loop."""

    async def work(value: int) -> int:
        await trio.sleep(0)
        return value + 1

    async def fail() -> None:
        await trio.sleep(0)
        raise ZeroDivisionError

    with pyzkserver.Server() as server:
        assert server.run(work, 1) == 2
        with pytest.raises(ZeroDivisionError):
            server.run(fail)


def test_run_inside_the_server() -> None:
    """A callback in the server's thread may use it too; but nobody waits there for what needs that thread."""
    with pyzkserver.Server() as server:
        assert server.run(lambda: server.run(lambda: "inside")) == "inside"

        async def work() -> None: ...

        with pytest.raises(RuntimeError, match="await the coroutine"):
            server.run(lambda: server.run(work))


def test_where_threads_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under gevent's monkey patching the caller and the server would wait for each other."""
    gevent = types.SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent.monkey", gevent)
    with pytest.raises(RuntimeError, match=r"a real one: start one beside it, `pyzkserver --port 0"):
        pyzkserver.Server().start()
    monkeypatch.undo()
    with pyzkserver.Server() as server:
        assert server.port


def test_run_needs_a_running_server() -> None:
    """Otherwise it says what to do."""
    server = pyzkserver.Server()
    with pytest.raises(RuntimeError, match="not running"):
        server.run(lambda: None)
