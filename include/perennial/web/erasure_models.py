"""What is asked and answered about erasures over HTTP (R22). No answer names a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from perennial.errors import TerminalRequestError
from perennial.exports.models import ID_LIMIT

Short = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
Id = Annotated[str, Field(min_length=1, max_length=1_000)]
RequestId = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$", description="Id of a request")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErasureItem(_Model):
    """A request to erase people, and where it stands."""

    request_id: str
    state: str = Field(description="Its last step")
    since: datetime
    requested_by: str | None = Field(description="Null: the messaging platform")
    requested_at: datetime
    due_at: datetime
    late: bool = Field(description="Whether its deadline has passed")
    waits_for: str = Field(description="In a sentence; empty if it is over")
    needs_decision: bool = Field(description="Whether somebody has to approve or refuse it")


class ErasureDetails(ErasureItem):
    """A request with what is known of it besides. It names nobody."""

    person_count: int | None = Field(description="Null where nothing is known of it any more, because it was refused")
    receipt: str | None = Field(description="The text to be filed, once it is verified")


class ErasureList(_Model):
    """Requests: those that are open, the first deadline first, and then those that are over, the last one first."""

    erasures: list[ErasureItem]
    count: int = Field(description="How many requests there are")


class ErasureOrder(_Model):
    """Whom to erase. The ids go into a document that is deleted with the people."""

    user_ids: list[Id] = Field([], max_length=10_000, description="The platform's user ids")
    external_user_ids: list[Id] = Field([], max_length=10_000, description="Your own user ids")
    notify: list[str] = Field([], max_length=50, description="E-mail addresses that get the receipt")
    reason: Short = Field("", description="Kept in the receipt, so it must not contain an id")


class ErasureForm(_Model):
    """The form: ids and addresses one per line."""

    user_ids: str = ""
    external_user_ids: str = ""
    notify: str = ""
    reason: Short = ""

    @property
    def params(self) -> dict[str, Any]:
        """The same as the params of the DAG."""
        ids = {name: _lines(getattr(self, name)) for name in ("user_ids", "external_user_ids")}
        return {**ids, "notify": self.notify.split(), "reason": self.reason}


class DecisionOrder(_Model):
    """What somebody decides about a request of the platform."""

    request_id: RequestId
    decision: Literal["approve", "refuse"]
    reason: Short = Field("", description="Why it is refused, without an id")


class ErasureStarted(_Model):
    """A request that a run is to carry out, or the decision about it that the run is to record."""

    request_id: str
    run_id: str


class UserAlias(_Model):
    """An alias, as in the product."""

    alias_name: str
    alias_label: str


class UserDeletion(_Model):
    """Whom to erase, as in the product's `/users/delete`: up to 50 ids in all."""

    external_ids: list[Id] = Field([], max_length=ID_LIMIT, description="Your own user ids")
    braze_ids: list[Id] = Field([], max_length=ID_LIMIT, description="The platform's user ids")
    user_aliases: list[UserAlias] = Field([], description="Refused: the warehouse has no aliases")
    email_addresses: list[Any] = Field([], description="Refused: several people may share an address")
    phone_numbers: list[Any] = Field([], description="Refused: several people may share a number")

    @property
    def params(self) -> dict[str, Any]:
        """The same as the params of the DAG.

        Raises:
            TerminalRequestError: Somebody is named by something else than an id, or there are none or too many.
        """
        for name in ("user_aliases", "email_addresses", "phone_numbers"):
            if getattr(self, name):
                raise TerminalRequestError(
                    f"{name} cannot be used: what the warehouse has of a person is found by an id alone. Give "
                    "external_ids or braze_ids; nothing was queued."
                )
        if not 1 <= self.count <= ID_LIMIT:
            raise TerminalRequestError(
                f"external_ids and braze_ids have {self.count} ids; give 1 to {ID_LIMIT} of them together."
            )
        return {"external_user_ids": self.external_ids, "user_ids": self.braze_ids}

    @property
    def count(self) -> int:
        """How many different ids it has."""
        return len(set(self.external_ids)) + len(set(self.braze_ids))


class UsersDeleted(_Model):
    """The product's answer, and where to ask for what becomes of it."""

    deleted: int = Field(description="How many ids are queued for erasure, whether or not the warehouse knows them")
    message: Literal["success"] = "success"
    request_id: str
    due_at: datetime


def _lines(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if line]
