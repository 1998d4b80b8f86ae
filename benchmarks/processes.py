"""Work measured in a process of its own, and what a tree of processes takes while it works for another program."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import Cost
from perennial.settings import Settings
from perennial.warehouse import Warehouse

SAMPLE_SECONDS = 0.05


def measured(work: Callable[[Warehouse], None], settings: Settings) -> Cost:
    """Run work in a process of its own; its imports cost neither time nor processor, but memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(work, settings, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed; its error is printed above") from None
    finally:
        process.join()


def _measure(work: Callable[[Warehouse], None], settings: Settings, sender: Any) -> None:
    import pyiceberg.io.pyarrow  # noqa: F401 - a process's first import is not the run's

    from perennial import quality

    quality._great_expectations()
    warehouse = Warehouse(settings)
    started, cpu_before = time.monotonic(), _cpu_seconds()
    work(warehouse)
    seconds, cpu_seconds = time.monotonic() - started, _cpu_seconds() - cpu_before
    # Not getrusage: its peak counts the parent that this process was forked from.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    sender.send(Cost(seconds, cpu_seconds, int(peak[1]) * 1024))


def _cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


class Watch:
    """What a process and all its descendants take, from the start of the watch."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._started, self._cpu_before = time.monotonic(), self._cpu_seconds()
        self._peak = self._bytes()

    def look(self) -> None:
        """Take a sample of the memory."""
        self._peak = max(self._peak, self._bytes())

    def cost(self) -> Cost:
        """What it took until now."""
        return Cost(time.monotonic() - self._started, self._cpu_seconds() - self._cpu_before, self._peak)

    def _each(self, measure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        root = psutil.Process(self._pid)
        for process in (root, *root.children(recursive=True)):
            # Processes end meanwhile; what they took counts for the one that started them.
            with suppress(psutil.Error):
                total += measure(process)
        return total

    def _cpu_seconds(self) -> float:
        return self._each(lambda process: sum(process.cpu_times()[:4]))

    def _bytes(self) -> float:
        """Memory, in which what processes share counts once: PostgreSQL's have their buffers in common."""
        return self._each(lambda process: process.memory_full_info().pss)


@contextmanager
def watched(pid: int) -> Iterator[Watch]:
    """Watch until the block ends."""
    watch, ended = Watch(pid), threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            watch.look()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield watch
    finally:
        ended.set()
        looking.join()
