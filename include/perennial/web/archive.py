"""What drills have proven of the archive, as JSON; the overview shows the same."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from perennial.drills.report import latest_report
from perennial.web.access import READ
from perennial.web.dependencies import WarehouseDep

router = APIRouter(dependencies=[READ], tags=["overview"])


class DamagedItem(BaseModel):
    """An archived file that cannot be restored as it is."""

    model_config = ConfigDict(from_attributes=True)

    file_uri: str
    source_id: str
    outcome: str = Field(description="damaged or missing")
    detail: str = Field(description="What is wrong, for a person")


class DrillItem(BaseModel):
    """A source whose restore was rehearsed in tables that nobody else sees."""

    model_config = ConfigDict(from_attributes=True)

    source_id: str
    row_count: int
    total_bytes: int
    restore_seconds: float
    return_seconds: float
    error: str = Field(description="What went wrong; empty if every row was the same")


class ArchiveAnswer(BaseModel):
    """How much of the archive is proven readable, as of the latest run of check_archive."""

    model_config = ConfigDict(from_attributes=True)

    sentence: str = Field(description="The same in words")
    run_id: str
    checked_at: datetime
    archived_count: int = Field(description="Files that the archive lists")
    checked_count: int = Field(description="Those of them that were read in full in the 90 days before")
    cold_count: int = Field(description="Files of the run's sample that would have to be thawed first")
    damaged: list[DamagedItem]
    drill: DrillItem | None


@router.get("/api/archive", summary="How much of the archive is proven readable, and what is damaged")
def show_archive(warehouse: WarehouseDep) -> ArchiveAnswer | None:
    """Return what the latest drill has found; null before the first."""
    report = latest_report(warehouse)
    return None if report is None else ArchiveAnswer.model_validate(report)
