"""From a customer's rounds to the runs and the models that they were in the training of."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.contract import RoundRelease, Signed
from consent.store.schema import ReleaseRow
from consent.wire import Participation


def trained(rounds: Iterable[Participation]) -> tuple[Participation, ...]:
    """Return, for each run, the first released round that trained its model with the customer."""
    firsts: dict[str, Participation] = {}
    for one in rounds:
        known = firsts.get(one.run_id)
        if one.released and one.kind.trains and (known is None or one.round < known.round):
            firsts[one.run_id] = one
    return tuple(firsts.values())


def models(session: Session, run_id: str, first_round: int) -> tuple[str, ...]:
    """Return a run's models from a round on, in the order of rounds: each is built on the ones before."""
    query = select(ReleaseRow.model_after).where(ReleaseRow.run_id == run_id, ReleaseRow.round >= first_round)
    return tuple(dict.fromkeys(session.scalars(query.order_by(ReleaseRow.round))))


def earlier_models(session: Session, run_id: str, first_round: int) -> frozenset[str]:
    """Return a run's models from before a round, what it started from included."""
    return frozenset(starting_points(session, run_id, upto=first_round)) - {*models(session, run_id, first_round)}


def starting_points(session: Session, run_id: str, *, upto: int) -> tuple[str, ...]:
    """Return what each round of a run, up to this one, started from."""
    query = select(ReleaseRow.body).where(ReleaseRow.run_id == run_id, ReleaseRow.round <= upto)
    bodies = session.scalars(query.order_by(ReleaseRow.round))
    return tuple(Signed[RoundRelease].model_validate_json(body).body.model_before for body in bodies)
