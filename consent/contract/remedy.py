"""What follows for a model when a customer who was in its training withdraws."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from consent.contract.canonical import ContractModel, Name


class RemedyPolicy(StrEnum):
    """What an officer chose for the models of a task."""

    BOUND = "bound"
    """They stay in use: the stated epsilon is the answer."""
    RETRAIN = "retrain"
    """They are trained again from the last round before the customer was in, and replaced."""
    REPLACE = "replace"
    """They are taken out of use, for another model or for none."""


class RemedyStatement(ContractModel):
    """An officer's word on how a remedy ended, where no release is evidence; signed under their enrolled key."""

    version: Literal[1] = 1
    remedy: Annotated[int, Field(ge=0, le=2**53)]
    """The entry of the log that opened the remedy."""
    run_id: Name
    withdraws_models: bool
    """Whether the run's models are out of use from now on."""
    text: Annotated[str, Field(min_length=1, max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]+$")]
    """What was done and why; it stands in the log for good and names no customer."""
    stated_at: AwareDatetime
