"""What `perennial up` starts ends with it, whatever ends it; and a taken port is answered with who holds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from perennial.errors import TransientError
from perennial_sample.ports import free_port, refuse_taken
from tests.exports.conftest import run

# As Airflow behaves: on SIGINT the parent stops its children in order; on SIGTERM it leaves them behind. One child has
# made a session its own and lost its parent, and one takes no hint at all.
STANDALONE = """
import os, signal, subprocess, sys, time
folder = sys.argv[1]
def told(name):
    open(os.path.join(folder, name), "w").write(str(os.getpid()))
role = sys.argv[2] if len(sys.argv) > 2 else "standalone"
if role == "stubborn":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
if role == "worker":
    if os.fork():
        os._exit(0)
    os.setsid()
told(role)
if role != "standalone":
    time.sleep(600)
children = [subprocess.Popen([sys.executable, __file__, folder, name]) for name in ("scheduler", "worker", "stubborn")]
try:
    time.sleep(600)
except KeyboardInterrupt:
    children[0].terminate()
    children[0].wait()
    told("stopped in order")
"""
UP = """
import os, pathlib, sys, time
from perennial_sample.guard import guarded, stop_like_ctrl_c
folder = pathlib.Path(sys.argv[1])
stop_like_ctrl_c()
try:
    with guarded([sys.executable, str(folder / "standalone.py"), str(folder)], os.environ, folder / "log", 30) as guard:
        (folder / "guard").write_text(str(guard.pid))
        guard.wait()
except KeyboardInterrupt:
    (folder / "said goodbye").touch()
"""
# As make does: it starts one process and waits for it.
MAKE = "import subprocess, sys; subprocess.call([sys.executable, *sys.argv[1:]])"
STARTED = ("guard", "standalone", "scheduler", "worker", "stubborn")


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """A process like make, and the process like `perennial up` that it has started; all that this started is up."""
    (tmp_path / "standalone.py").write_text(STANDALONE)
    (tmp_path / "up.py").write_text(UP)
    command = [sys.executable, "-c", MAKE, str(tmp_path / "up.py"), str(tmp_path)]
    if getattr(request, "param", ""):
        command = [request.param, *command]
    make = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in STARTED))
        yield psutil.Process(make.pid), psutil.Process(make.pid).children()[0]
    finally:
        for process in processes(tmp_path):
            process.kill()
        make.kill()
        make.wait()


def wait_for(is_so: object) -> None:
    assert callable(is_so)
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until, "it did not happen within a minute"
        time.sleep(0.1)


def processes(folder: Path) -> list[psutil.Process]:
    """Those of this test that are alive."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if str(folder) in (process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_a_signal_that_ends_it_ends_all_that_it_started(
    running: tuple[psutil.Process, psutil.Process], tmp_path: Path, number: signal.Signals
) -> None:
    assert len(processes(tmp_path)) >= len(STARTED)
    running[1].send_signal(number)
    wait_for(lambda: not processes(tmp_path))
    assert (tmp_path / "stopped in order").exists()
    assert (tmp_path / "said goodbye").exists() == (number != signal.SIGKILL)


def test_the_end_of_the_process_that_started_it_ends_all_of_it(
    running: tuple[psutil.Process, psutil.Process], tmp_path: Path
) -> None:
    running[0].kill()
    wait_for(lambda: not processes(tmp_path))
    assert (tmp_path / "stopped in order").exists()
    assert (tmp_path / "said goodbye").exists()


@pytest.mark.parametrize("running", ["nohup"], indirect=True)
def test_under_nohup_it_outlives_who_started_it(running: tuple[psutil.Process, psutil.Process], tmp_path: Path) -> None:
    make, up = running
    make.kill()
    make.wait()
    wait_for(lambda: up.ppid() != make.pid)
    up.send_signal(signal.SIGHUP)
    with pytest.raises(psutil.TimeoutExpired):
        up.wait(2)
    assert len(processes(tmp_path)) >= len(STARTED)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_answered_with_who_holds_it_before_anything_is_started(tmp_path: Path, host: str) -> None:
    with socket.socket() as server:
        server.bind((host, 0))
        server.listen()
        port = server.getsockname()[1]
        said = run(tmp_path / "home", "up", "--port", str(port))
    assert said.exit_code == 1
    assert f"Port {port} is taken by process {os.getpid()} (" in said.stderr
    assert "pytest" in said.stderr
    assert "choose another port with --port." in said.stderr
    assert not (tmp_path / "home").exists()


def test_a_port_that_somebody_only_keeps_for_themselves_is_taken_too() -> None:
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", 0))
        with pytest.raises(TransientError, match="is taken"):
            refuse_taken(keeper.getsockname()[1])
    refuse_taken(free_port())


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_what_is_no_port_is_refused(tmp_path: Path, port: str) -> None:
    assert run(tmp_path / "home", "up", "--port", port).exit_code == 2
    assert not (tmp_path / "home").exists()
