"""Runs a command for another process, and ends it with all that it started when that process ends, however it ends.

`python -m perennial_sample.guard SECONDS COMMAND …` waits for the end of its standard input: a pipe ends with the
process that holds its other end, also when that is killed. Then the command gets what Ctrl-C sends and SECONDS to stop;
what is still there after that is killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_LAST_SECONDS = 5


@contextmanager
def guarded(
    command: list[str], environment: Mapping[str, str], log: Path, stop_seconds: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block or this process ends, however that is.

    Args:
        command: What to run.
        environment: Its environment.
        log: The file that its output is added to.
        stop_seconds: How long it may take to stop after what Ctrl-C sends.

    Yields:
        The process that guards it and ends with it.
    """
    guard_command = [sys.executable, "-m", "perennial_sample.guard", str(stop_seconds), *command]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches only this process, and the end of the pipe tells the guard.
        process = subprocess.Popen(
            guard_command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def stop_like_ctrl_c() -> None:
    """Make SIGTERM, SIGHUP and the end of the parent do what Ctrl-C does; under nohup only SIGTERM does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    parent = os.getppid()

    def outlive() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=outlive, daemon=True).start()


def _guard(command: list[str], stop_seconds: float, is_over: Callable[[], bool]) -> int:
    """Run a command until it ends or its time is over; returns its exit code. Nothing that it started is left.

    Args:
        command: What to run.
        stop_seconds: How long it may take to stop.
        is_over: Waits a moment; whether to stop the command now.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the end of the pipe counts. Not SIG_IGN: the command would ignore them too.
        signal.signal(number, lambda *_: None)
    if sys.platform == "linux":
        # What loses its parent becomes a child of this process, and is found whatever session it has made its own.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not is_over():
        pass
    started = _started()
    # To the command alone: it stops its children in order. On SIGTERM Airflow leaves them behind.
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(stop_seconds)
    while left := [child for child in {*started, *_started()} if child.is_running() and not _is_dead(child)]:
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left, timeout=_LAST_SECONDS)
    return process.wait()


def _started() -> list[psutil.Process]:
    return list(psutil.Process().children(recursive=True))


def _is_dead(child: psutil.Process) -> bool:
    try:
        return bool(child.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _input_has_ended() -> bool:
    readable, _, _ = select.select([0], [], [], 0.5)
    return bool(readable) and not os.read(0, 1)


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[2:], float(sys.argv[1]), _input_has_ended))
