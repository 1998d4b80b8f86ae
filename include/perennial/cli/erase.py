"""`erase` opens requests to erase people, and decides about them; `erasures` shows where they stand (R22)."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from perennial.cli.printing import console, opened_warehouse, print_result, print_rows, say_exactly
from perennial.cli.rows import AsCsv, AsJson, row_writer
from perennial.errors import TerminalRequestError
from perennial.operations import current_user
from perennial.settings import dag_id
from perennial.text import exact_size, moment, pluralize

if TYPE_CHECKING:
    from perennial.warehouse import Warehouse

app = typer.Typer()

_UserIds = Annotated[list[str] | None, typer.Option("--user-id", help="The platform's id of a person; repeatable.")]
_ExternalIds = Annotated[
    list[str] | None, typer.Option("--external-user-id", help="Your own id of a person; repeatable.")
]
_File = Annotated[Path | None, typer.Option(help="File with one such id per line; - reads standard input.")]
_RequestIds = list[str] | None


@app.command()
def erase(
    user_id: _UserIds = None,
    external_user_id: _ExternalIds = None,
    user_ids_from: _File = None,
    external_user_ids_from: _File = None,
    notify: Annotated[
        list[str] | None, typer.Option(help="E-mail address that gets the receipt; may be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, without the id: it is kept in the receipt.")] = "",
    by: Annotated[str | None, typer.Option(help="Who asks for it. Default: this user.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report what would be removed; open nothing.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Carry it out in this process; without ids, everything that is due.")
    ] = False,
    retrieve: Annotated[
        bool,
        typer.Option("--retrieve", help="Retrieve cold files now, not together with those of later requests."),
    ] = False,
    approve: Annotated[
        _RequestIds, typer.Option(metavar="REQUEST_ID", help="Instead, approve a request of the platform.")
    ] = None,
    refuse: Annotated[
        _RequestIds, typer.Option(metavar="REQUEST_ID", help="Instead, refuse one; give a --reason.")
    ] = None,
    forget_suppression: Annotated[
        bool, typer.Option("--forget-suppression", help="Instead, store again what arrives for these people.")
    ] = False,
    forget_lost_key: Annotated[
        bool, typer.Option("--forget-lost-key", help="Likewise for all who were erased with a key that is lost.")
    ] = False,
) -> None:
    """Erase what the warehouse holds of people, wherever it is, and get a receipt.

    The ids go into a document that is erased with the people; a run of the DAG erase_users gets only the id of the
    request. Ids on a command line stay in the shell's history: a file or standard input leaves none there.
    """
    ids = {
        "user_ids": [*(user_id or []), *_lines(user_ids_from)],
        "external_user_ids": [*(external_user_id or []), *_lines(external_user_ids_from)],
    }
    asked = {**ids, "notify": notify or [], "reason": reason}
    who = by or current_user()
    with opened_warehouse() as warehouse:
        if approve or refuse:
            _decide(warehouse, approve or [], refuse or [], who, reason)
        elif forget_suppression or forget_lost_key:
            _forget(warehouse, None if forget_lost_key else ids, who)
        elif dry_run:
            _report(warehouse, asked, who)
        elif here:
            _work_off(warehouse, {**asked, "retrieve": retrieve}, who)
        else:
            _open(warehouse, asked, who, retrieve)


@app.command()
def erasures(
    request_id: Annotated[
        str | None, typer.Argument(help="Id of a request: shows its receipt, or where it stands.")
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only requests in this state, such as requested.")] = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List the requests to erase people: where each stands, and by when it has to be done."""
    from perennial.erase.open_requests import EVENTS, find_state, show_requests
    from perennial.erase.receipts import find_receipt
    from perennial.notify.erasure_message import receipt_text

    if state is not None and state not in EVENTS:
        raise typer.BadParameter(f"--state is {state!r}; give one of {', '.join(EVENTS)}.")
    write = row_writer(as_csv, as_json) or print_result
    with opened_warehouse() as warehouse:
        if request_id is None:
            with show_requests(warehouse, state) as shown:
                write(shown)
            return
        if (receipt := find_receipt(warehouse, request_id)) is not None:
            sys.stdout.write(receipt_text(receipt))
            return
        found = find_state(warehouse, request_id)
        console.print(
            f"Request {request_id}: {found.state} since {moment(found.at)}, due by {moment(found.due_at)}.",
            soft_wrap=True,
        )


def _lines(path: Path | None) -> list[str]:
    """Read ids from a file, one per line; empty lines are skipped."""
    if path is None:
        return []
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(
            f"{path} cannot be read ({type(error).__name__}); give a UTF-8 text, one id a line."
        ) from error
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]


def _open(warehouse: Warehouse, asked: dict[str, Any], by: str, retrieve: bool) -> None:
    from perennial.erase.opening import open_erasure, read_erasure

    request = read_erasure(warehouse, asked, by)
    open_erasure(warehouse, request)
    console.print(f"Request {request.request_id} is open, due by {moment(request.due_at)}.", soft_wrap=True)
    conf = {"request_id": request.request_id, **({"retrieve": True} if retrieve else {})}
    try:
        console.print(Text(f"Run {_trigger(warehouse, conf, by)} of {dag_id('erase_users')} carries it out."))
    except TerminalRequestError as error:
        say_exactly(
            f"{error} The request is open nevertheless: the next daily run carries it out, and `perennial erase "
            "--here` does so at once, in this process.",
            "yellow",
        )


def _trigger(warehouse: Warehouse, conf: dict[str, Any], by: str) -> str:
    home = warehouse.settings.home
    if "AIRFLOW_HOME" not in os.environ and home is not None and (home / "airflow" / "airflow.db").exists():
        from perennial_sample.in_process import airflow_environment

        # The workspace of `perennial up` has an Airflow of its own.
        os.environ |= airflow_environment(home / "airflow")
    from perennial.airflow import trigger_dag

    return trigger_dag("erase_users", conf, by)


def _work_off(warehouse: Warehouse, params: dict[str, Any], by: str) -> None:
    from perennial.erase.inline import work_off
    from perennial.erase.open_requests import request_states
    from perennial.erase.opening import open_erasure, read_erasure
    from perennial.operations import Run, local_run_id

    now = datetime.now(UTC)
    run_id = local_run_id(now)
    open_before = [state.request_id for state in request_states(warehouse) if not state.is_over]
    named = {"retrieve": params["retrieve"]}
    if params["user_ids"] or params["external_user_ids"]:
        # As a request, and not as params: the receipt says of those that Airflow keeps them.
        request = read_erasure(warehouse, params, by)
        open_erasure(warehouse, request)
        named["request_id"] = request.request_id
    remaining = work_off(warehouse, named, Run(run_id, now, by), lambda doing: say_exactly(f"{doing} …"))
    for state in request_states(warehouse):
        if not state.is_over or state.request_id not in open_before:
            console.print(f"Request {state.request_id}: {state.state}, due by {moment(state.due_at)}.", soft_wrap=True)
    if remaining:
        raise typer.Exit(1)


def _report(warehouse: Warehouse, params: dict[str, Any], by: str) -> None:
    from perennial.erase.run import find_only
    from perennial.operations import Run

    report = find_only(warehouse, params, Run("dry run", datetime.now(UTC), by))
    print_rows(["place", "what"], [(count.place, count.amount) for count in report.found])
    if report.cold_file_count:
        size = exact_size(report.cold_bytes)
        console.print(f"{pluralize(report.cold_file_count, 'file')} in cold storage, {size}, may hold more.")
        console.print(Text(report.cost), soft_wrap=True)
    console.print("Nothing was opened and nothing was removed.")


def _decide(warehouse: Warehouse, approved: list[str], refused: list[str], by: str, reason: str) -> None:
    from perennial.erase import open_requests

    for request_id in approved:
        open_requests.approve(warehouse, request_id, by)
        console.print(f"Request {request_id} is approved; the next run of {dag_id('erase_users')} carries it out.")
    for request_id in refused:
        open_requests.refuse(warehouse, request_id, by, reason)
        console.print(f"Request {request_id} is refused; nothing was removed, and its ids are deleted.")


def _forget(warehouse: Warehouse, ids: dict[str, list[str]] | None, by: str) -> None:
    from perennial.erasures.suppression import forget_lost_key, forget_suppression

    if ids is None:
        count = forget_lost_key(warehouse, by)
    else:
        count = forget_suppression(warehouse, ids["user_ids"], by, ids["external_user_ids"])
    console.print(f"What arrives for {pluralize(count, 'id')} is stored again.", soft_wrap=True)
