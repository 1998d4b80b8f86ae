"""What a load does about erasure (R22): it drops what arrives for erased people, and opens the platform's requests."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from perennial.erasures import erasure_key, hash_user_id, states, suppressed
from perennial.erasures.hashes import has_key
from perennial.erasures.requests import PLATFORM, new_request, open_requests, write_request
from perennial.operations import hashed_name
from perennial.settings import PREFIX
from perennial.statements import statement
from perennial.text import pluralize

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from perennial.warehouse import Warehouse

log = logging.getLogger(__name__)

_FETCHED_ROWS = 10_000


def drop_erased(warehouse: Warehouse, connection: DuckDBPyConnection) -> None:
    """Remove the records of erased people from `events`, and keep in `erased_records` which ones they were.

    It must be called after the ledger was loaded: whoever is erased later makes the load lose its race for the ledger.
    """
    connection.execute(statement("load/create_erased_records"))
    people = suppressed(warehouse)
    if not people:
        return
    people.show(connection, "events")
    connection.execute(statement("load/insert_erased_records"))
    unowned = connection.cursor()
    unowned.execute(statement("load/select_unowned_rejections"))
    while rows := unowned.fetchmany(_FETCHED_ROWS):
        named = [(file_no, line) for file_no, line, payload in rows if people.is_named(payload)]
        if named:
            connection.executemany("INSERT INTO erased_records VALUES (?, ?)", named)
    connection.execute(statement("load/delete_erased_events"))


def open_platform_requests(warehouse: Warehouse, connection: DuckDBPyConnection) -> None:
    """Open a request for every `users.UserDeleteRequest` of the load that is new, before the load is committed.

    The id of a request follows from that of its event, so a load that dies here and is prepared again opens nothing
    twice. Somebody for whom the platform has a request that waits for approval needs no second one.
    """
    asked = dict(connection.execute(statement("load/select_delete_requests")).fetchall())
    if not asked:
        return
    requests = [
        new_request(
            warehouse.settings,
            request_id=f"platform-{hashed_name(event_id)[:32]}",
            user_ids=(user_id,),
            requested_by="users.UserDeleteRequest",
            reason="The messaging platform asks for it.",
            origin=PLATFORM,
        )
        for user_id, event_id in asked.items()
    ]
    if not has_key(warehouse.settings):
        log.warning(
            "%s of the messaging platform cannot be recorded in the table `erasures` before %sERASURE_KEY is set; the "
            "requests are kept until then",
            pluralize(len(requests), "request to erase a person", "requests to erase a person"),
            PREFIX,
        )
        for request in requests:
            write_request(warehouse, request)
        return
    key = erasure_key(warehouse.settings)
    waiting = {state.user_id_hash for state in states(warehouse) if state.event == "requested"}
    open_requests(warehouse, [one for one in requests if hash_user_id(key, one.user_ids[0]) not in waiting])
    log.info("erase: the platform asks to erase %s", pluralize(len(requests), "person", "people"))
