"""The agent as the Flower relay sees it: text and arrays in, text and arrays out, nothing of what is behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float64] | NDArray[np.int64]]
Total = NDArray[np.int64] | NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Hello:
    """Who answers: a brand's name and the public key that it is enrolled under."""

    brand: str
    key: str


@dataclass(frozen=True)
class SetupRequest:
    """A run's beginning: the task and the signed setup, JSON."""

    task: str
    setup: str


@dataclass(frozen=True)
class ShareRequest:
    """All brands' signed advertisements for a run: a JSON array, and the run's signed setup, JSON."""

    setup: str
    advertisements: str


@dataclass(frozen=True)
class KeepRequest:
    """All brands' sealed shares for this one: a JSON array, and the run's signed setup, JSON."""

    setup: str
    shares: str


@dataclass(frozen=True)
class OpenRequest:
    """The signed closing of an attempt at a round, and the run's signed setup, JSON."""

    setup: str
    closing: str


@dataclass(frozen=True)
class RoundRequest:
    """A round as it arrives: untrusted text and arrays, checked by the agent alone.

    Attributes:
        task: a task specification, JSON.
        manifest: a signed round manifest, JSON.
        arrays: the solver's query.
        release: the signed release of the round before, JSON; asked for in trust mode `distributed` alone, and
            empty in a run's first round.
    """

    task: str
    manifest: str
    arrays: Arrays
    release: str = ""


@dataclass(frozen=True)
class RoundReply:
    """What an agent releases.

    Attributes:
        attestation: its signed word for the sum, JSON.
        total: the noised sum in grid steps, shape (p,), int64; masked in trust mode `distributed`, as elements of
            the ring, uint32 or uint64.
    """

    attestation: str
    total: Total


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

    def setup(self, request: SetupRequest) -> str:
        """Join a run of trust mode `distributed`, or refuse; return the brand's signed advertisement, JSON."""
        ...

    def share(self, request: ShareRequest) -> str:
        """Return this brand's sealed shares for every brand of a run, a JSON array, or refuse."""
        ...

    def keep(self, request: KeepRequest) -> None:
        """Keep every brand's shares for this one, or refuse."""
        ...

    def release(self, request: RoundRequest) -> RoundReply:
        """Take part in a round, or refuse."""
        ...

    def open(self, request: OpenRequest) -> str:
        """Help to open a round's sum, or refuse; return the brand's signed unmasking, JSON."""
        ...

    def install(self, delivery: ModelDelivery) -> None:
        """Keep a finished model for decisions, or refuse it."""
        ...
