"""The states of a round, the same in both trust modes, and the only ways between them; see docs/rounds.md.

Every state that others rely on is a signed value that the consent service has logged before anything follows from
it: the manifest for `opened`, in trust mode `distributed` the closing for `closed` and the abandonment for
`abandoned`, and the release for `released`. The others are the coordinator's own, and are reached again from the
logged ones after a crash.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import structlog

from server.errors import RoundOrderError

_LOG = structlog.get_logger()


class RoundState(StrEnum):
    """How far an attempt at a round is."""

    OPENED = "opened"
    """Its manifest is logged and its budget reserved; brands may compute."""
    COLLECTING = "collecting"
    """Brands have been asked; their sums come in until all are there or the time is over."""
    CLOSED = "closed"
    """Whose sums count is fixed, once for the round; nothing else can be opened any more."""
    UNMASKED = "unmasked"
    """The sum over the brands that arrived is known to the coordinator, and to nobody else."""
    RELEASED = "released"
    """The step is taken; spend, model and release were committed together."""
    ABANDONED = "abandoned"
    """It will never be opened; the round goes on with a new attempt."""


TRANSITIONS: Mapping[RoundState, frozenset[RoundState]] = MappingProxyType(
    {
        RoundState.OPENED: frozenset({RoundState.COLLECTING, RoundState.ABANDONED}),
        RoundState.COLLECTING: frozenset({RoundState.OPENED, RoundState.CLOSED, RoundState.ABANDONED}),
        RoundState.CLOSED: frozenset({RoundState.UNMASKED}),
        RoundState.UNMASKED: frozenset({RoundState.RELEASED}),
        RoundState.RELEASED: frozenset(),
        RoundState.ABANDONED: frozenset({RoundState.OPENED}),
    }
)
"""Where each state leads. From `collecting` back to `opened` leads trust mode `local` alone: there a sum that
arrived stays, and a new attempt asks the other brands."""

FIRST = frozenset({RoundState.OPENED, RoundState.CLOSED})
"""Where a round begins; at `closed` when its coordinator was stopped after the closing was written."""


class RoundProgress:
    """Follows one round through its states and tells each in the coordinator's own log.

    Args:
        run_id: the run.
        number: the round.
    """

    def __init__(self, run_id: str, number: int) -> None:
        self._run_id = run_id
        self._number = number
        self._state: RoundState | None = None

    @property
    def state(self) -> RoundState | None:
        """Where the round is; None before its first state."""
        return self._state

    def move(self, state: RoundState, **facts: object) -> None:
        """Go on to a state.

        Args:
            state: the next one.
            **facts: what else to tell, in public terms.

        Raises:
            RoundOrderError: no way leads there from where the round is.
        """
        allowed = FIRST if self._state is None else TRANSITIONS[self._state]
        if state not in allowed:
            raise RoundOrderError(f"Round {self._number} can not go from {self._state} to {state}.")
        self._state = state
        _LOG.info("round", run_id=self._run_id, round=self._number, state=state.value, **facts)
