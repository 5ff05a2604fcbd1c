"""The agent as the Flower relay sees it: text and arrays in, text and arrays out, nothing of what is behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float64] | NDArray[np.int64]]


@dataclass(frozen=True)
class Hello:
    """Who answers: a brand's name and the public key that it is enrolled under."""

    brand: str
    key: str


@dataclass(frozen=True)
class RoundRequest:
    """A round as it arrives: untrusted text and arrays, checked by the agent alone.

    Attributes:
        task: a task specification, JSON.
        manifest: a signed round manifest, JSON.
        arrays: the solver's query.
    """

    task: str
    manifest: str
    arrays: Arrays


@dataclass(frozen=True)
class RoundReply:
    """What an agent releases: its signed attestation, JSON, and the noised sum in grid steps, shape (p,)."""

    attestation: str
    total: NDArray[np.int64]


@dataclass(frozen=True)
class ModelDelivery:
    """A finished model: the task and the signed release of its last round, JSON, and the model's arrays."""

    task: str
    release: str
    arrays: Arrays


class AgentPort(Protocol):
    """What a relay may ask of the agent; each method may raise a `client.errors.RefusalError`."""

    def hello(self) -> Hello:
        """Say which brand this is."""
        ...

    def release(self, request: RoundRequest) -> RoundReply:
        """Take part in a round, or refuse."""
        ...

    def install(self, delivery: ModelDelivery) -> None:
        """Keep a finished model for decisions, or refuse it."""
        ...
