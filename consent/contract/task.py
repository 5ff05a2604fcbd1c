"""What is asked of brands: a task's features, label, solver settings and privacy target."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from consent.contract.canonical import ContractModel, Name, added

FeatureName = Annotated[str, Field(min_length=1, max_length=128)]


class NumericFeature(ContractModel):
    """A number with public bounds; values outside are clamped, missing ones have a cell of their own."""

    kind: Literal["numeric"] = "numeric"
    name: FeatureName
    lower: float
    upper: float
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.lower >= self.upper:
            raise ValueError(f"feature {self.name!r}: lower must be below upper")
        return self


class CategoricalFeature(ContractModel):
    """One of a public list of levels; an unlisted level counts as missing."""

    kind: Literal["categorical"] = "categorical"
    name: FeatureName
    levels: Annotated[tuple[str, ...], Field(min_length=1, max_length=512)]

    @model_validator(mode="after")
    def _levels_are_distinct(self) -> Self:
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"feature {self.name!r}: levels must be distinct")
        return self


Feature = Annotated[NumericFeature | CategoricalFeature, Field(discriminator="kind")]


class Label(ContractModel):
    """What is predicted: whether the customer does `name` within `horizon_days` after the cut-off."""

    name: FeatureName
    horizon_days: Annotated[int, Field(ge=0, le=3650)] = 0


class PrivacyTarget(ContractModel):
    """The guarantee asked for: (epsilon, delta) for one customer, over all rounds and brands that they are at."""

    epsilon: Annotated[float, Field(gt=0, le=16)]
    delta: Annotated[float, Field(gt=0, lt=1e-3)]
    trust_mode: Literal["local", "distributed"] = "local"
    max_brands_per_customer: Annotated[int, Field(ge=1, le=16)] = 1
    """Who is at more brands than that is not inside the guarantee."""
    dropouts: Annotated[int, Field(ge=0, le=99)] = added(0)
    """Brands that may fail in a round of trust mode `distributed`; every other one adds noise in their place."""
    colluders: Annotated[int, Field(ge=0, le=99)] = added(1)
    """Brands whose own noise is not counted on in trust mode `distributed`, as they may tell it."""


class SolverSettings(ContractModel):
    """The accelerated additive solver: one round of marginals, then `rounds` rounds of clipped gradients."""

    name: Literal["accelerated_additive"] = "accelerated_additive"
    rounds: Annotated[int, Field(ge=1, le=500)] = 40
    clip_norm: Annotated[float, Field(gt=0, le=100)] = 0.5
    marginals_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    cells: Annotated[int, Field(ge=4, le=256)] = 64
    max_bins: Annotated[int, Field(ge=2, le=64)] = 32


class TaskSpec(ContractModel):
    """A task that an officer can approve: everything that shapes what leaves a brand."""

    version: Literal[1] = 1
    task_id: Name
    purpose: Name
    family: Name = "propensity"
    """What kind of thing is learned; the purpose has to allow it."""
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=512)]
    label: Label
    privacy: PrivacyTarget
    solver: SolverSettings = SolverSettings()
    minimum_cohort: Annotated[int, Field(ge=2)] = 50

    @model_validator(mode="after")
    def _feature_names_are_distinct(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("feature names must be distinct")
        return self

    @property
    def total_rounds(self) -> int:
        """Rounds from first to last, the round of marginals included."""
        return self.solver.rounds + 1
