"""Recovers what a table has lost that was set back, each table in one compare-and-swap commit.

If nobody has committed since, `main` is set forward again. If others have, or if commits of others were undone as well,
which may have been intended, our own operations are repeated on the table as it is. What a catalog from a backup has
forgotten is read from the table's metadata files.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.table import TableProperties
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate

from perennial.errors import TerminalRequestError, TransientConflictError
from perennial.warehouse.catalog_errors import catalog_errors
from perennial.warehouse.commits import set_tag
from perennial.warehouse.heads import note_head, read_head
from perennial.warehouse.lineage import GIVEN_UP_KEY, OPERATION_KEY, TAG, Head, History, operation_of, tagged
from perennial.warehouse.losses import Loss, find_loss
from perennial.warehouse.manifests import SnapshotProducer
from perennial.warehouse.races import repeat_lost_races
from perennial.warehouse.replay import is_rewrite, plan_replay, replay
from perennial.warehouse.undone import Undone, UnrepairableError, find_undone

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from perennial.warehouse.catalog import Warehouse


@dataclass(frozen=True)
class Repair:
    """What can be done about a loss.

    Attributes:
        loss: What is missing.
        how: What the repair does; or, if it is impossible, why, and what a person can do.
        possible: Whether it can be done.
    """

    loss: Loss
    how: str
    possible: bool


@dataclass(frozen=True)
class _Way:
    how: str
    commit: Callable[[Table], None]


def repair_table(warehouse: Warehouse, name: str, dry_run: bool) -> Repair | None:
    """Find what a table has lost, and recover it unless this is a dry run; None if nothing is missing.

    Raises:
        TransientConflictError: Other writers kept committing first.
        TransientError: The catalog did not answer; repeating it is safe.
    """

    def attempt() -> Repair | None:
        # The note first: of a table that is loaded before, it may be ahead.
        head, table = read_head(warehouse, name), warehouse.table(name)
        loss = find_loss(table, head)
        if loss is None:
            return None
        try:
            way = _way(table, head)
            if not dry_run:
                _commit(warehouse, table, way.commit)
        except UnrepairableError as error:
            return Repair(loss, str(error), possible=False)
        return Repair(loss, way.how, possible=True)

    return repeat_lost_races(name, "Repair", attempt)


def accept_table(warehouse: Warehouse, name: str) -> Loss | None:
    """Accept a table as it is and give up what is missing in it; None if nothing is missing.

    Raises:
        TerminalRequestError: It can be repaired, or rows would be doubled; nothing was changed.
        TransientConflictError: Another writer has just changed the table.
        TransientError: The catalog did not answer; repeating it is safe.
    """
    head, table = read_head(warehouse, name), warehouse.table(name)
    loss = find_loss(table, head)
    if loss is None:
        return None
    _refuse_doubling(table, head, loss)
    given_up = {OPERATION_KEY: f"accept:{uuid.uuid4().hex}", GIVEN_UP_KEY: "\n".join(loss.operations)}

    def commit(table: Table) -> None:
        transaction = table.transaction()
        SnapshotProducer(transaction, table.io, properties=given_up).commit()
        set_tag(transaction)
        transaction.commit_transaction()

    try:
        _commit(warehouse, table, commit)
    except (CommitFailedException, ValidationException) as error:
        raise TransientConflictError(f"Another writer has just changed {name}; run this again.") from error
    return loss


def _refuse_doubling(table: Table, head: Head | None, loss: Loss) -> None:
    """Refuse to give up the removal of rows that another table now has: they would be doubled.

    Of a table that was created anew only the last operation is known; whoever filled it is responsible for its rows.
    """
    if head is not None and head.table_uuid != str(table.metadata.table_uuid):
        return
    name = table.name()[-1]
    try:
        _way(table, head)
    except UnrepairableError:
        pass
    else:
        raise TerminalRequestError(
            f"{name} can be repaired, so it was not accepted as it is: run `perennial repair --yes`."
        )
    if removals := [operation for operation in loss.operations if ":remove:" in operation]:
        raise TerminalRequestError(
            f"{name} was not accepted as it is: {', '.join(removals[:5])} took rows out of it that the other table of "
            "interactions now has, so they would be doubled. Set its main branch to a later snapshot (Spark: CALL "
            "system.set_current_snapshot); see docs/runbooks/table-set-back.md."
        )


def _commit(warehouse: Warehouse, table: Table, commit: Callable[[Table], None]) -> None:
    # Only this copy of the metadata: after a lost race the table is read again.
    table.metadata.properties[TableProperties.COMMIT_NUM_RETRIES] = "0"
    with catalog_errors(table.catalog.name, commit=table.name()[-1]):
        commit(table)
    note_head(warehouse, table)


def _way(table: Table, head: Head | None) -> _Way:
    if head is not None and head.table_uuid != str(table.metadata.table_uuid):
        raise UnrepairableError(
            "A catalog that was set up anew is not repaired: restore its newest backup and run this again, or register "
            f"{head.metadata_location} in it (docs/runbooks/table-set-back.md)."
        )
    try:
        undone = find_undone(table, head)
    except UnrepairableError as error:
        raise UnrepairableError(f"{error} {_by_hand(table, None)}") from error
    others = [one for one in undone.chain if not operation_of(one) and not is_rewrite(one)]
    is_current = (undone.base.snapshot_id if undone.base else None) == table.metadata.current_snapshot_id
    if is_current and undone.forgotten and _can_be_added(table, undone):
        count = len(undone.chain)
        snapshots = "1 snapshot" if count == 1 else f"{count} snapshots"
        how = f"The catalog gets back {snapshots} that it has forgotten, from the table's metadata files."
        return _Way(how, partial(_set_forward, undone))
    if is_current and not undone.forgotten and not others:
        how = f"Nobody has committed since, so its main branch is set forward to snapshot {undone.target.snapshot_id}."
        return _Way(how, partial(_set_forward, undone))
    try:
        steps = plan_replay(table, undone)
    except UnrepairableError as error:
        raise UnrepairableError(f"{error} {_by_hand(table, undone)}") from error
    made = "1 commit is" if len(steps) == 1 else f"{len(steps)} commits are"
    how = f"{made} made again on the table as it is now, under the operation ids that they had."
    if others:
        how += f" Commits of other writers stay undone: {', '.join(str(one.snapshot_id) for one in others)}."
    return _Way(how, lambda table: replay(table, steps))


def _by_hand(table: Table, undone: Undone | None) -> str:
    name = table.name()[-1]
    tag = table.metadata.refs.get(TAG)
    target = undone.target.snapshot_id if undone is not None else tag.snapshot_id if tag is not None else None
    back = (
        f"Either set the main branch of {name} to snapshot {target} (Spark: CALL system.set_current_snapshot), which "
        "gives up what other writers have committed since; or accept"
        if target is not None
        else "Take"
    )
    return f"{back} the table as it is with `perennial repair --accept {name}`, which gives these operations up."


def _can_be_added(table: Table, undone: Undone) -> bool:
    """Whether an ordinary commit can bring forgotten snapshots back: the catalog has made none of the same number."""
    schemas = {schema.schema_id for schema in table.metadata.schemas}
    last = getattr(table.metadata, "last_sequence_number", 0)
    return all((one.sequence_number or 0) > last and one.schema_id in (None, *schemas) for one in undone.chain)


def _set_forward(undone: Undone, table: Table) -> None:
    known = History(table.metadata).snapshots.keys()
    current, target = table.metadata.current_snapshot_id, undone.target.snapshot_id
    main = SetSnapshotRefUpdate(ref_name=MAIN_BRANCH, type=SnapshotRefType.BRANCH, snapshot_id=target)  # type: ignore[call-arg]  # pyiceberg's own alias
    transaction = table.transaction()
    transaction._apply(
        (
            *(AddSnapshotUpdate(snapshot=one) for one in undone.chain if one.snapshot_id not in known),
            main,
            tagged(target),
        ),
        (AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=current),),  # type: ignore[call-arg]
    )
    transaction.commit_transaction()
