"""Great Expectations: the reconciliation rows of a move, the figures of a load. Nothing else imports it.

The import takes seconds, so it happens inside the functions, in the task that needs it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from perennial.engines.protocol import importing_spark
from perennial.resources import resource
from perennial.text import pluralize

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

# How many failing rows one expectation names; the others are counted.
NAMED_ROWS = 50
TEMPLATE_ROOT = resource("templates")


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What a move planned for one source, compared with its copies.

    Attributes:
        source_id: Campaign or Canvas.
        planned_files: Files to copy.
        copied_files: Copies found at their addresses.
        planned_rows: Interactions in the planned files, without deleted rows (M7).
        copied_rows: Interactions in the copies.
        planned_bytes: Bytes of the planned files.
        copied_bytes: Bytes of the copies.
        checksum_mismatches: Copies whose content differs from their original.
        rewritten: Whether files were rewritten or merged on their way (M7): their number and bytes may then differ.
    """

    source_id: str
    planned_files: int
    copied_files: int
    planned_rows: int
    copied_rows: int
    planned_bytes: int
    copied_bytes: int
    checksum_mismatches: int
    rewritten: bool = False


@dataclass(frozen=True, kw_only=True)
class LoadCounts:
    """Where every record of one landing file went.

    Attributes:
        file_uri: Address of the file.
        read: Records read.
        interactions: Loaded as interactions.
        summary_only: Counted in user_message_summary, but no interaction.
        duplicates: Known from an earlier delivery.
        ignored: Of other event types.
        rejected: Kept in rejected_events.
        erased: Of people who were erased, not stored (R22).
    """

    file_uri: str
    read: int
    interactions: int
    summary_only: int
    duplicates: int
    ignored: int
    rejected: int
    erased: int = 0


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """The result of a suite.

    Attributes:
        success: Whether every expectation held.
        failures: One sentence for each failing row, naming it and its figures; at most `NAMED_ROWS` an expectation.
        html: One self-contained page.
        json: The whole result in Great Expectations' form (rows by position), and the sentences.
    """

    success: bool
    failures: tuple[str, ...]
    html: str
    json: str


@dataclass(frozen=True)
class _Check:
    """An expectation, its title, and the sentence about a row that does not meet it."""

    expectation: Any
    title: str
    complaint: Callable[[Mapping[str, Any]], str]


def check_move(rows: Sequence[Reconciliation]) -> QualityReport:
    """Check that the copies of a move hold what was planned; a failed expectation is reported, not raised."""
    frame = _frame(rows, Reconciliation)
    for noun in ("files", "bytes"):
        # Rewritten files are not compared. A row condition would also express that, but take as long as all the rest.
        frame[f"due_{noun}"] = frame[f"planned_{noun}"].where(~frame["rewritten"].astype(bool), frame[f"copied_{noun}"])
    return _run("Move: copies against plan", frame, _move_checks())


def preload() -> None:
    """Import Great Expectations now, instead of at the first check."""
    _great_expectations("expectations")


def check_load(counts: Sequence[LoadCounts]) -> QualityReport:
    """Check that a load accounts for every record it read; a failed expectation is reported, not raised."""
    frame = _frame(counts, LoadCounts)
    frame["accounted"] = [
        c.interactions + c.summary_only + c.duplicates + c.ignored + c.rejected + c.erased for c in counts
    ]  # fmt: skip
    return _run("Load: records read against records accounted for", frame, _load_checks())


def _move_checks() -> list[_Check]:
    gxe = _great_expectations("expectations")
    equal = [
        _Check(
            gxe.ExpectColumnPairValuesToBeEqual(column_A=planned, column_B=f"copied_{noun}"),
            f"As many {noun} are copied as planned{but}",
            _differ(noun),
        )
        for noun, planned, but in (
            ("files", "due_files", ", unless rewritten"),
            ("rows", "planned_rows", ""),
            ("bytes", "due_bytes", ", unless rewritten"),
        )
    ]
    same_content = _Check(
        gxe.ExpectColumnValuesToBeInSet(column="checksum_mismatches", value_set=[0]),
        "No copy differs from its original",
        lambda row: f"{row['source_id']!r}: {row['checksum_mismatches']:,} of its copies differ from their original.",
    )
    return [*_identity_checks("source_id"), *equal, same_content, _natural_check(Reconciliation, "source_id")]


def _load_checks() -> list[_Check]:
    gxe = _great_expectations("expectations")
    accounted = _Check(
        gxe.ExpectColumnPairValuesToBeEqual(column_A="read", column_B="accounted"),
        "Every record that was read is accounted for",
        lambda row: (
            f"{row['file_uri']!r}: {pluralize(row['read'], 'record')} read, {row['accounted']:,} accounted for."
        ),
    )
    return [*_identity_checks("file_uri"), accounted, _natural_check(LoadCounts, "file_uri")]


def _identity_checks(column: str) -> list[_Check]:
    gxe = _great_expectations("expectations")
    return [
        _Check(
            gxe.ExpectColumnValuesToNotBeNull(column=column),
            f"Every row has a {column}",
            lambda _: f"A row has no {column}.",
        ),
        _Check(
            gxe.ExpectColumnValuesToBeUnique(column=column),
            f"Every {column} is in one row",
            lambda row: f"{row[column]!r} is in more than one row.",
        ),
    ]


def _natural_check(row_type: type, identity: str) -> _Check:
    """One for all figures of a row: one expectation per figure would take as long as all the others together."""
    gxe = _great_expectations("expectations")
    figures = _figures(row_type)

    def complaint(row: Mapping[str, Any]) -> str:
        below = ", ".join(f"{figure} is {row[figure]:,}" for figure in figures if row[figure] < 0)
        return f"{row[identity]!r}: {below}, below zero."

    expectation = gxe.ExpectColumnValuesToBeBetween(column="smallest_figure", min_value=0)
    return _Check(expectation, "No figure is below zero", complaint)


def _figures(row_type: type) -> list[str]:
    return [field.name for field in fields(row_type) if field.type == "int"]


def _differ(noun: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: (
        f"{row['source_id']!r}: {row[f'planned_{noun}']:,} {noun} planned, {row[f'copied_{noun}']:,} copied."
    )


def _frame(rows: Sequence[Reconciliation] | Sequence[LoadCounts], row_type: type) -> pd.DataFrame:
    import pandas as pd

    names = [field.name for field in fields(row_type)]
    frame = pd.DataFrame([vars(row) for row in rows], columns=names)
    frame["smallest_figure"] = frame[_figures(row_type)].min(axis=1)
    return frame


def _run(title: str, frame: pd.DataFrame, checks: Sequence[_Check]) -> QualityReport:
    for number, check in enumerate(checks):
        check.expectation.meta = {"check": number}
    result = _validated(title, frame, [check.expectation for check in checks])
    outcomes = [(checks[each.expectation_config.meta["check"]], each) for each in result.results]
    failed = [(check, each) for check, each in outcomes if not each.success]
    failures = list(dict.fromkeys(sentence for check, each in failed for sentence in _complaints(check, each, frame)))
    return QualityReport(
        success=bool(result.success),
        failures=tuple(failures),
        html=_page(title, len(frame), failures, outcomes, result),
        json=json.dumps({"failures": failures, **result.to_json_dict()}, default=str),
    )


def _validated(title: str, frame: pd.DataFrame, expectations: list[Any]) -> Any:
    """Validate in an ephemeral context: no file, no network, no progress bar."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("reconciliation").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name=title, expectations=expectations)
    result = batch.validate(suite, result_format="BASIC")
    if result.success:
        return result
    # Which rows: asked only where there are some, for it takes half as long again. Positions, no rows: naming those
    # makes it look up every one of them, seconds for thousands.
    positions = {"result_format": "SUMMARY", "partial_unexpected_count": NAMED_ROWS}
    return batch.validate(suite, result_format=positions)


def _complaints(check: _Check, result: Any, frame: pd.DataFrame) -> list[str]:
    positions = result.result.get("partial_unexpected_index_list") or []
    named = [check.complaint(frame.iloc[position].to_dict()) for position in positions]
    more = result.result.get("unexpected_count", 0) - len(positions)
    if more > 0:
        named.append(f"… and {more:,} more rows fail {result.expectation_config.type}.")
    return named or [f"{result.expectation_config.type} could not be checked: {result.exception_info}"]


def _page(
    title: str, row_count: int, failures: Sequence[str], outcomes: Sequence[tuple[_Check, Any]], result: Any
) -> str:
    """One page that loads nothing: Great Expectations' own takes scripts from six sites."""
    return _template().render(
        title=title,
        row_count=row_count,
        success=result.success,
        failures=failures,
        expectations=[
            (each.success, check.title, each.expectation_config.type, each.result.get("unexpected_count", 0))
            for check, each in outcomes
        ],
        statistics=result.statistics,
        version=result.meta.get("great_expectations_version"),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(TEMPLATE_ROOT), autoescape=True)
    return environment.get_template("quality.html.j2")


def _great_expectations(module: str = "") -> Any:
    """Import one of its modules; it imports Spark's client where that is installed, and warns of what it depends on."""
    with importing_spark():
        return importlib.import_module(f"great_expectations.{module}".rstrip("."))
