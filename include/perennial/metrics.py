"""Every metric of this project, declared once, and how it is sent: through Airflow's own StatsD or OpenTelemetry.

Names carry no tags, because Airflow's plain StatsD drops them. With Airflow's default prefix, Prometheus knows a metric
as `airflow_perennial_NAME`, whichever of the two ways it takes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

log = logging.getLogger(__name__)

DAGS = (
    "check_archive",
    "erase_users",
    "expire_interactions",
    "export_user_data",
    "hold_sources",
    "load_interactions",
    "maintain_warehouse",
    "measure_warehouse",
    "restore_interactions",
    "sync_sources",
)
_PREFIX = "perennial."


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: What follows `perennial.`; that of a counter ends in `_total`, that of a time in `_timestamp_seconds`.
        kind: A counter is sent when something has happened, a gauge by each run of `measure_warehouse`.
        unit: What is counted.
        meaning: In a sentence.
    """

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    meaning: str

    @property
    def prometheus(self) -> str:
        """The name in Prometheus, with Airflow's default prefix."""
        return f"airflow_perennial_{self.name}"


def _declared(kind: Literal["counter", "gauge"], text: str) -> dict[str, Metric]:
    lines = (line.split(maxsplit=2) for line in text.strip().splitlines())
    return {name: Metric(name, kind, unit, f"{meaning}.") for name, unit, meaning in lines}


COUNTERS: Final = _declared("counter", """
    expired_sources_total sources Moves of a source to long-term storage
    expired_rows_total interactions Interactions that moved to long-term storage
    expired_bytes_total bytes Size of their files
    restored_sources_total sources Moves of a source back to the hot table
    restored_rows_total interactions Interactions that came back to the hot table
    restored_bytes_total bytes Size of their files
    loaded_rows_total interactions Interactions that were loaded
    rejected_events_total records Records that could not be read, kept in `rejected_events`
""" + "\n".join(f"{dag}_failures_total tasks Tasks of `{dag}` that failed for good" for dag in DAGS))  # fmt: skip

GAUGES: Final = _declared("gauge", """
    measured_timestamp_seconds time When the gauges were measured, by the wall clock
    available_sources sources Sources that are available
    expired_sources sources Sources that are expired
    hot_rows interactions Interactions in the hot table
    hot_bytes bytes Size of the hot table's data files
    archived_rows interactions Interactions in long-term storage
    archived_bytes bytes Size of the archived files
    late_rows interactions Hot interactions of expired sources, which the next expiry archives
    metadata_synced_timestamp_seconds time When the older of `sources` and `audiences` was last synced; 0 if never
    expiry_timestamp_seconds time The date of the newest expiry run that has begun; 0 if there was none
    interrupted_moves moves Expiries and restores that no task has worked on for an hour, but for those that wait
    oldest_restore_seconds seconds How long the oldest restore that copies has been under way since it could begin
    thawing_restores runs Restores that wait for cold storage
    restores_to_approve runs Restores that wait for approval
    expiries_to_approve runs Expiry runs that wait for approval
    erasures_to_approve requests Erasure requests of the platform that wait for approval
    open_erasures requests Erasure requests that are not over
    urgent_erasures requests Those of them in the last quarter of their time, or late
    late_erasures requests Those of them whose deadline has passed
    archived_files files Files in the archive at the latest check
    checked_files files Those of them that were read in full in the 90 days before
    damaged_files files Archived files that were damaged or missing at the latest check
    archive_checked_timestamp_seconds time When the archive was last checked; 0 if never
    failed_drills drills Whether the rehearsed restore of the latest check failed: 1 or 0
    waiting_files files Landing files that are not loaded yet
    oldest_waiting_file_seconds seconds Age of the oldest of them
""")  # fmt: skip

METRICS: Final = COUNTERS | GAUGES


def send(values: Mapping[str, float]) -> None:
    """Add to counters and set gauges; what cannot be sent is logged, and fails nothing.

    Airflow decides by its section `[metrics]` where to, if anywhere. Outside Airflow's processes nothing is sent.
    """
    if "airflow.sdk" not in sys.modules:
        return
    for name, value in values.items():
        metric = METRICS[name]
        try:
            stats = _airflow_stats()
            if metric.kind == "counter":
                stats.incr(_PREFIX + name, int(value))
            else:
                stats.gauge(_PREFIX + name, value)
        except Exception:  # whatever it is: no move may fail because of it
            log.warning("Metric %s was not sent", name, exc_info=True)


def are_sent() -> bool:
    """Whether Airflow sends metrics anywhere."""
    from airflow.configuration import conf

    switches = ("statsd_on", "otel_on", "statsd_datadog_enabled")
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in switches)


def _airflow_stats() -> Any:
    try:
        return import_module("airflow.sdk.observability.stats").Stats
    except ModuleNotFoundError:  # Airflow 3.1
        return import_module("airflow.stats").Stats
