"""Commands about data that is missing: `check | adopt | resume-check` (R18)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from perennial.cli.archive import check_archived_files
from perennial.cli.platform import check_platform_selects
from perennial.cli.printing import console, opened_warehouse, print_rows, say, shown
from perennial.cli.repair import check_tables
from perennial.errors import TerminalRequestError
from perennial.operations import current_user
from perennial.settings import dag_id
from perennial.text import pluralize

if TYPE_CHECKING:
    from perennial.audiences.lint import AudienceFinding
    from perennial.audiences.resume import ResumeCheck
    from perennial.maintenance.bucket_rules import BucketRules
    from perennial.notify.restore_command import RestoreCommand

app = typer.Typer()

_KINDS = {
    "forbidden": "Forbidden: names a source whose interactions the previous policy deleted",
    "unknown": "Unknown: names what the platform does not have",
    "unreadable": "Unreadable: cannot be evaluated",
    "incomplete": "Incomplete: leaves out expired interactions",
}
_PREVIOUS_POLICY_ENDED = date(2024, 1, 1)


@app.command()
def check(
    platform: Annotated[
        bool,
        typer.Option("--platform", help="Run the SELECTs that read the platform, and report what a sync would refuse."),
    ] = False,
    archive: Annotated[
        bool,
        typer.Option("--archive", help="Read a sample of the archived files in full, and rehearse one restore."),
    ] = False,
    sample_percent: Annotated[
        float | None, typer.Option(help="With --archive: the percentage of the archived files to read; default 5.")
    ] = None,
) -> None:
    """Report lost data, audiences that cannot be answered in full, and bucket lifecycle rules that would delete data.

    An audience is listed if it names a deleted, unknown or expired source, or cannot be read. The exit code is 1 if a
    person has to correct something, and 0 if a restore brings back everything that is missing. With --platform, only
    the platform is checked: five rows of each table are shown, and every finding. With --archive, only the archive is
    checked, as the DAG check_archive does it; the outcomes are recorded in archive_checks. Nothing else is changed.
    """
    if (platform and archive) or (sample_percent is not None and not archive):
        raise typer.BadParameter("Give either --platform or --archive, and --sample-percent only with --archive.")
    if platform:
        check_platform_selects()
        return
    if archive:
        check_archived_files(sample_percent)
        return
    from perennial.audiences.lint import lint_audiences
    from perennial.maintenance.bucket_rules import find_harmful_rules
    from perennial.notify.restore_command import build_restore_command

    with opened_warehouse() as warehouse:
        is_whole = check_tables(warehouse)
        found: dict[str, list[AudienceFinding]] = {kind: [] for kind in _KINDS}
        for each in lint_audiences(warehouse):
            found[each.finding.kind].append(each)
        rules = find_harmful_rules(warehouse)
    for kind, findings in found.items():
        if findings:
            console.print(f"\n[bold]{_KINDS[kind]}[/]")
            columns = ["owner", "status", "part", "where", "what"]
            print_rows(columns, [_row(each) for each in findings])
    console.print(", ".join(f"{len(findings):,} {kind}" for kind, findings in found.items()))
    restorable = {name for each in found["incomplete"] for name in each.finding.restorable}
    _print_restore(build_restore_command(sorted(restorable), (), (), "Needed by audiences"))
    _print_bucket_rules(rules)
    if not is_whole or rules.harmful or any(found[kind] for kind in _KINDS if kind != "incomplete"):
        raise typer.Exit(1)


def _print_bucket_rules(rules: BucketRules) -> None:
    if rules.harmful:
        console.print("\n[bold]Lifecycle rules of buckets that delete or freeze what must stay[/]")
        rows = [
            (rule.bucket, rule.name, "\n".join(rule.places), f"It {rule.harm}.", rule.remedy) for rule in rules.harmful
        ]
        print_rows(["bucket", "rule", "reaches", "what", "remedy"], rows)
    for bucket, error in rules.unseen.items():
        say(f"[yellow]The lifecycle rules of bucket {escape(bucket)} could not be read: {escape(error)}[/]")


@app.command()
def adopt(
    cutoff: Annotated[str | None, typer.Option(help="Day the previous policy ended (YYYY-MM-DD, UTC).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Explain each decision, mark nothing.")] = False,
    take_back: Annotated[
        list[str] | None, typer.Option(help="Instead, remove the mark from this source; may be repeated.")
    ] = None,
) -> None:
    """Mark the sources whose interactions were deleted under the previous policy, before this project was in use.

    These are the sources that had sent nothing for 25 months and that no active campaign, Canvas or Content Card used
    for retargeting. Nothing is written to the platform. A source whose interactions are in the warehouse is never
    marked, so load the history first.
    """
    from perennial.policy.legacy_deletions import decide_legacy_deletions, import_legacy_deletions, revoke

    if (cutoff is None) == (not take_back):
        raise typer.BadParameter("Give either --cutoff or --take-back, and not both.")
    with opened_warehouse() as warehouse:
        now = datetime.now(UTC)
        if cutoff is None:
            revoke(warehouse, take_back or [], now, current_user())
            console.print(f"Took {pluralize(len(set(take_back or [])), 'mark')} back.")
            return
        day = _day("--cutoff", cutoff)
        decided = (
            decide_legacy_deletions(warehouse, day, now)
            if dry_run
            else import_legacy_deletions(warehouse, day, now, current_user())
        )
    listed = [deletion for deletion in decided if dry_run or deletion.decision in ("mark", "stored")]
    print_rows(["source_id", "decision", "reason"], [(each.source_id, each.decision, each.reason) for each in listed])
    counts = Counter(deletion.decision for deletion in decided)
    kept = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("deleted", "unsent", "recent", "referenced", "stored"))
    console.print(f"{counts['mark']:,} {'would be marked' if dry_run else 'marked'}; left as they are: {kept}.")
    if day > _PREVIOUS_POLICY_ENDED:
        say("[yellow]The previous policy ended with 2023: a later cutoff marks data that was never deleted.[/]")


@app.command("resume-check")
def resume_check(source: Annotated[str, typer.Argument(help="Id of a campaign or Canvas.")]) -> None:
    """Report what a stopped campaign or Canvas would miss if it were started again, and how to restore that.

    The exit code is 0 if its audiences have all they need, and 1 if not.
    """
    from perennial.audiences.resume import check_resume

    with opened_warehouse() as warehouse:
        found = check_resume(warehouse, source)
    _print_resume_check(found)
    if not found.ready:
        raise typer.Exit(1)


def _print_resume_check(found: ResumeCheck) -> None:
    status = (
        found.status if found.vanished_at is None else f"no longer in the platform, as of {shown(found.vanished_at)}"
    )
    console.print(f"{escape(found.name)} ({found.kind} {escape(found.source_id)}) is {status}.")
    own = {
        "expired": f"Its own interactions expired on {shown(found.since)}"
        + ("." if found.vanished_at else "; the next daily run after it is started brings them back."),
        "deleted": f"The previous policy deleted its own interactions on {shown(found.since)}: they are lost.",
    }
    if found.state in own:
        console.print(own[found.state])
    needed = [(part, source) for part, missing in found.missing.items() for source in missing]
    if needed:
        columns = ["part", "needs", "name", "state", "since", "interactions", "without it", "where"]
        rows = [
            (
                part,
                s.source_id,
                s.name,
                s.state,
                s.since,
                s.archived_rows,
                " and ".join(sorted(s.effects)),
                " | ".join(s.paths),
            )
            for part, s in needed
        ]
        print_rows(columns, rows)
    if found.problems:
        print_rows(["part", "where", "problem"], [(p.part, p.path, p.detail) for p in found.problems])
    console.print("Ready: its audiences have all they need." if found.ready else "Not ready.")
    _print_restore(found.restore)


def _print_restore(restore: RestoreCommand | None) -> None:
    """Print the command on a line of its own, as it is; where no shell takes it, its params."""
    if restore is None:
        return
    if restore.fits_a_shell:
        console.print("To bring back what can come back:")
        print(restore.command)  # noqa: T201 - to be pasted, so never folded
    else:
        say(f"Trigger {dag_id('restore_interactions')} with these params to bring back what can come back:")
        print(restore.conf)  # noqa: T201 - likewise


def _row(found: AudienceFinding) -> tuple[str | None, ...]:
    owner, finding = found.owner, found.finding
    name = f"{owner['owner_kind']}:{owner['owner_id']}"
    return name, owner["owner_status"], owner["part"], finding.path, finding.detail


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise TerminalRequestError(f"{option} is {text!r}; give a day such as 2024-01-01.") from error
