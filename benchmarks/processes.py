"""Work measured in a process of its own, so that no other's memory or imports weigh on it."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perennial.settings import Settings
from perennial.warehouse import Warehouse


def measured(work: Callable[[Warehouse], None], settings: Settings) -> tuple[float, int]:
    """Run work in a process of its own; returns its seconds, imports excluded, and its peak memory in bytes."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(work, settings, sender))
    process.start()
    seconds, peak = receiver.recv()
    process.join()
    return seconds, peak


def _measure(work: Callable[[Warehouse], None], settings: Settings, sender: Any) -> None:
    import pyiceberg.io.pyarrow  # noqa: F401 - a process's first import is not the run's

    from perennial import quality

    quality._great_expectations()
    warehouse = Warehouse(settings)
    started = time.monotonic()
    work(warehouse)
    seconds = time.monotonic() - started
    # Not getrusage: its peak counts the parent that this process was forked from.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    sender.send((seconds, int(peak[1]) * 1024))
