"""What drives a round, the same in both trust modes: ask brands, take their replies, settle, until it is open."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from consent.contract import RoundManifest, RoundRelease, Signed
from privacy.solvers import SolverState
from server.errors import RoundIncompleteError
from server.mail import BrandMail, Letter, Refusal, Reply


class Observer(Protocol):
    """Someone who watches a run from inside the coordinator; sees releases and nothing else."""

    def opened(self, manifest: RoundManifest) -> None:
        """A round, or a further attempt of it, was opened."""
        ...

    def released(self, state: SolverState, release: RoundRelease) -> None:
        """A round was released, and its spend committed."""
        ...


@dataclass(frozen=True)
class Limits:
    """How often and how long brands are asked.

    Args:
        attempts: how often a round is opened anew, and a closing or a setup asked for again, before the run stops.
        setup_seconds: for the replies to one message of the setup.
        collect_seconds: for the sums of one attempt, and for brands to connect.
        unmask_seconds: for the shares that open a sum.
    """

    attempts: int
    setup_seconds: float
    collect_seconds: float
    unmask_seconds: float


@dataclass(frozen=True)
class Asking:
    """One exchange: what is sent, how long replies are waited for, and what they are checked by."""

    letters: Sequence[Letter]
    seconds: float
    take: Callable[[Reply], None]
    enough: Callable[[], bool] = lambda: False


class Round(Protocol):
    """A round as it is driven; what it asks and accepts depends on the trust mode."""

    @property
    def is_open(self) -> bool:
        """Whether the sum can be read."""
        ...

    def ask(self, mail: BrandMail) -> Asking:
        """Return what to ask of brands now."""
        ...

    def settle(self, refusals: Mapping[str, Refusal]) -> None:
        """Go on after the replies are in; `refusals` says of brands why theirs does not count."""
        ...

    def release(self) -> tuple[SolverState, Signed[RoundRelease]]:
        """Return the state after the round, and its release."""
        ...

    def forget(self) -> None:
        """Let go of what was kept to resume the round; its release is committed."""
        ...


def drive(current: Round, mail: BrandMail) -> tuple[SolverState, Signed[RoundRelease]]:
    """Ask brands until a round's sum is open; return the state after it, and its release.

    Raises:
        RoundIncompleteError: too few brands took part, often enough.
    """
    while not current.is_open:
        asking = current.ask(mail)
        current.settle(
            mail.exchange(asking.letters, seconds=asking.seconds, take=asking.take, enough=asking.enough)
        )
    return current.release()


def no_more_attempts(
    number: int, missing: Collection[str], refusals: Mapping[str, Refusal], *, of: int
) -> RoundIncompleteError:
    """Return the error for a round that was opened often enough, with brands and reasons."""
    return RoundIncompleteError(
        f"Round {number} lacks {len(missing)} of {of} brands ({reasons(missing, refusals)}). "
        f"Mend that and start the run again with the same run id."
    )


def reasons(brands: Collection[str], refusals: Mapping[str, Refusal]) -> str:
    """Return why brands are missing, in words."""
    return "; ".join(f"{brand}: {refusals.get(brand, 'no answer')}" for brand in brands)
