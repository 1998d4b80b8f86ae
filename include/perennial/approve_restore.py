"""The task that plans a restore, and first waits for a person where it is above its ceiling (R23).

It is one task because each task of a restore is a process that somebody waits for, and most restores have no ceiling.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

from perennial.airflow import current_page_url, current_run, current_run_url, step


class PlanRestore(ApprovalOperator):
    """Plans a restore: at once where it stays below its ceiling, otherwise when somebody has approved it.

    A rejection, or no answer in time, ends the restore before anything moves.

    Args:
        request_uri: Address of the checked request.
    """

    template_fields = (*ApprovalOperator.template_fields, "request_uri")

    def __init__(self, *, request_uri: Any, **named: Any) -> None:
        super().__init__(subject="Approve the restore?", body="", defaults=ApprovalOperator.REJECT, **named)
        self.request_uri = request_uri

    def execute(self, context: Any) -> Any:
        """Return the addresses of the plans, or ask."""
        from perennial.moves import ceiling
        from perennial.moves.restore import plan_restore
        from perennial.moves.restore_start import is_approved

        with step() as warehouse:
            run = current_run()
            report = ceiling.ceiling_report(warehouse, self.request_uri, run)
            # A retry of what was approved asks nobody again.
            if report is None or is_approved(warehouse, run.run_id):
                return plan_restore(warehouse, self.request_uri, run)
            self.subject, self.body = ceiling.subject(report), ceiling.body(report)
            self.response_timeout = ceiling.ANSWER_WITHIN
            address = current_run_url() and self.generate_link_to_ui_from_context(context=context)
            ceiling.notify_of_ceiling(warehouse, report, address, current_run_url(), current_page_url())
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Go on as the person has answered; a timeout is a rejection by nobody."""
        from perennial.moves.cancellation import REJECTED, record_cancellation
        from perennial.moves.restore import plan_restore
        from perennial.moves.restore_start import note_approval

        # Not as an approval, which would skip what follows: a rejected restore fails, and its e-mail says why.
        answer = HITLOperator.execute_complete(self, context, event)
        by = (answer.get("responded_by_user") or {}).get("name") or ""
        with step() as warehouse:
            run = current_run()
            if answer["chosen_options"] == [self.APPROVE]:
                note_approval(warehouse, run.run_id, by)
            else:
                record_cancellation(warehouse, run.run_id, by, REJECTED)
            return plan_restore(warehouse, self.request_uri, run)
