"""Work measured in a process of its own, so that no other's memory or imports weigh on it."""

from __future__ import annotations

import multiprocessing
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.settings import Settings
from perennial.warehouse import Warehouse


@dataclass(frozen=True)
class Cost:
    """What some work took, imports excluded.

    Attributes:
        seconds: Of the clock.
        cpu_seconds: Of processors, all threads together.
        peak_bytes: The most memory that the process had.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measured(work: Callable[[Warehouse], None], settings: Settings) -> tuple[float, int]:
    """Run work in a process of its own; returns its seconds, imports excluded, and its peak memory in bytes."""
    cost = cost_of(work, settings)
    return cost.seconds, cost.peak_bytes


def cost_of(work: Callable[[Warehouse], None], settings: Settings) -> Cost:
    """Run work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(work, settings, sender))
    process.start()
    cost: Cost = receiver.recv()
    process.join()
    return cost


def _measure(work: Callable[[Warehouse], None], settings: Settings, sender: Any) -> None:
    import pyiceberg.io.pyarrow  # noqa: F401 - a process's first import is not the run's

    from perennial import quality

    quality._great_expectations()
    warehouse = Warehouse(settings)
    started, processors = time.monotonic(), time.process_time()
    work(warehouse)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - processors
    # Not getrusage: its peak counts the parent that this process was forked from.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    sender.send(Cost(seconds, cpu_seconds, int(peak[1]) * 1024))
