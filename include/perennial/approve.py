"""The task that waits for a person where a run would move unusually much (R21): Airflow's own approval operator.

Its subject and body are known only when it runs, and most runs have nothing to ask.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from perennial.airflow import (
    AirflowSkipException,
    current_page_url,
    current_params,
    current_run,
    current_run_url,
    give_turn_back,
    step,
)


class ApproveExpiry(ApprovalOperator):
    """Shows a person what the decisions of a run would move, and waits; is skipped where nobody has to be asked.

    Without an answer before the next daily run is due, it ends as a rejection, which skips what comes after it.

    Args:
        decided_uri: Address of the decisions.
    """

    template_fields = (*ApprovalOperator.template_fields, "decided_uri")

    def __init__(self, *, decided_uri: Any, **named: Any) -> None:
        super().__init__(
            subject="Approve what expires?", body="", defaults=ApprovalOperator.REJECT,
            ignore_downstream_trigger_rules=False, **named,
        )  # fmt: skip
        self.decided_uri = decided_uri

    def execute(self, context: Any) -> Any:
        """Ask, or skip."""
        from perennial.moves.approval import notify_of_question, question

        if current_params().get("dry_run"):
            raise AirflowSkipException("A dry run moves nothing, so nobody has to approve it.")
        with step() as warehouse:
            run = current_run()
            asked = question(warehouse, self.decided_uri, run)
            if asked is None:
                raise AirflowSkipException("The run moves no more than the limits allow (APPROVE_ABOVE_*).")
            self.subject, self.body, self.response_timeout = asked.subject, asked.body, asked.wait
            address = current_run_url() and self.generate_link_to_ui_from_context(context=context)
            report = replace(asked.report, approve_url=address, page_url=current_page_url(), run_url=current_run_url())
            notify_of_question(warehouse, report)
            give_turn_back(warehouse)
        return super().execute(context)
