"""What withdrawals ask of models that were trained before, for both ends of the service."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from consent.contract import ContractModel, Digest, Name, RemedyPolicy, RemedyStatement, Signed
from consent.wire import Place

MAX_MODELS = 1_000
"""Models of one page."""


class RemedyChoice(ContractModel):
    """What follows for a task's models when customers withdraw from now on."""

    task: Digest
    policy: RemedyPolicy


class ReleaseName(ContractModel):
    """A released round."""

    run_id: Name
    round: Annotated[int, Field(ge=0)]


class RemedyClosing(ContractModel):
    """The evidence that a remedy was taken: the release that replaced the model, or an officer's statement."""

    remedy: Place
    """The entry of the log that opened it."""
    replaced_by: ReleaseName | None = None
    statement: Signed[RemedyStatement] | None = None

    @model_validator(mode="after")
    def _one_kind_of_evidence(self) -> Self:
        if (self.replaced_by is None) == (self.statement is None):
            raise ValueError("evidence is either a release or a statement")
        return self


class RemedyView(ContractModel):
    """What withdrawals of a brand's customers ask of one run's models; it never names a customer."""

    remedy: int
    """The entry of the log that opened it."""
    brand: Name
    run_id: Name
    task: Digest
    purpose: Name
    policy: RemedyPolicy
    first_round: int
    """The first round that one of the customers was in: a training that starts over goes on from before it."""
    upto_index: int
    """The last withdrawal that it answers; what replaces the models rests on snapshots from after it."""
    model: Digest | None
    """The run's last model."""
    closed_index: int | None
    """The entry that closed it; None while it waits for evidence."""
    closed_by: RemedyClosing | None
    """Its evidence; None while it is open, and where the stated epsilon is the answer."""


class RemedyPage(ContractModel):
    """Remedies, in the order of the log."""

    remedies: tuple[RemedyView, ...]
    cursor: Place | None
    """After which entry to go on; None at the end."""


class WithdrawnModel(ContractModel):
    """A model that nobody may use any more."""

    model: Digest
    run_id: Name
    replaced_by: Digest | None
    """The model to use instead; None where there is none."""
    log_index: int
    """The entry that took it out of use."""


class WithdrawnModelPage(ContractModel):
    """Models that are out of use, by digest."""

    models: tuple[WithdrawnModel, ...]
    cursor: Digest | None
    """After which one to go on; None at the end."""
