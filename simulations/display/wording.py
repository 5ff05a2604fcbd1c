"""Numbers and sentences that the terminal and the report have in common, so that they never differ."""

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

from simulations.results import BrandScore, DemoResult, LiftResult, LogResult, Spend, WithdrawalWave

DASH = "\N{EM DASH}"

FEDERATED = "federated"
ALONE = "brand alone"
POOLED = "pooled, not private"
POOLED_NOTE = "pooled, not private - possible only with synthetic brands"
NO_GUARANTEE = "The noise was seeded, so that the run can be repeated: there is NO privacy guarantee."
GUARANTEE = "The noise came from the operating system's generator: the epsilon below holds."

_THOUSANDTH = Decimal("0.001")


def score(value: float | None) -> str:
    """Write an AUC with three decimals; a dash where there is none."""
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


def count(value: int) -> str:
    """Write a count with its thousands apart."""
    return f"{value:,}"


def epsilon(value: float) -> str:
    """Write an epsilon spent with three decimals, rounded up: never less than was spent."""
    if not math.isfinite(value):
        return "unbounded"
    return str(Decimal(repr(value)).quantize(_THOUSANDTH, rounding=ROUND_CEILING))


def points(value: float) -> str:
    """Write a difference of rates in percentage points, with its sign; a dash where there is none."""
    return f"{100 * value:+.2f}" if math.isfinite(value) else DASH


def size_class(value: int) -> str:
    """Write the size class of a cohort, which was rounded down to a power of two."""
    return f"{value:,}+" if value else "none"


def rounds(numbers: Sequence[int]) -> str:
    """Write round numbers as ranges, such as "rounds 0-4 and 7"."""
    if not numbers:
        return "no round"
    ordered = sorted(set(numbers))
    starts = [number for number in ordered if number - 1 not in ordered]
    ends = [number for number in ordered if number + 1 not in ordered]
    spans = [f"{start}" if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True)]
    listed = spans[0] if len(spans) == 1 else f"{', '.join(spans[:-1])} and {spans[-1]}"
    return f"round {listed}" if len(ordered) == 1 else f"rounds {listed}"


def used_later(wave: WithdrawalWave) -> tuple[int, ...]:
    """Return the rounds after a withdrawal that could still use those who withdrew; there should be none."""
    return tuple(number for number in wave.rounds if number > wave.after_round)


def spend(item: Spend) -> str:
    """Say what a purpose has cost a customer at most."""
    if item.ceiling <= 0:
        return f"epsilon {epsilon(item.epsilon)}; nothing may be spent on it"
    return f"epsilon {epsilon(item.epsilon)} of {item.ceiling:g}, delta {item.delta:g}"


def wave(item: WithdrawalWave) -> str:
    """Say who withdrew when, and which rounds could use them."""
    late = used_later(item)
    people = f"{count(item.customers)} customer{'' if item.customers == 1 else 's'}"
    used = f"usable in {rounds(item.rounds)}"
    tail = f"STILL AFTER WITHDRAWING in {rounds(late)}" if late else "in none since"
    return f"{people} withdrew after round {item.after_round}: {used}, {tail}"


def withdrawn(result: DemoResult) -> int:
    """Return how many customers withdrew in all."""
    return sum(item.customers for item in result.withdrawals)


def lift(item: LiftResult) -> str:
    """Say the lift in percentage points, with its interval."""
    return f"{points(item.difference)} points of conversion, 95 % interval {interval(item)}"


def interval(item: LiftResult) -> str:
    """Write the ends of the lift's 95 % interval."""
    return f"{points(item.low)} to {points(item.high)}"


def lift_verdict(item: LiftResult) -> str:
    """Say in words what the interval allows to conclude."""
    if not (math.isfinite(item.low) and math.isfinite(item.high)):
        return "there is no interval, so nothing can be concluded"
    if item.low > 0:
        return "the interval lies above zero: the decisions helped"
    if item.high < 0:
        return "the interval lies below zero: the decisions did harm"
    return "the interval contains zero: the difference may be chance"


def arms(item: LiftResult) -> str:
    """Say how large the arms were and how much was sent."""
    return f"{count(item.treated)} treated, {count(item.held_out)} held out, {count(item.sent)} sent"


def verdict(item: LogResult) -> str:
    """Say whether the offline verifier found nothing wrong."""
    return "verified" if item.verified else "NOT VERIFIED"


def overall(result: DemoResult) -> BrandScore | None:
    """Return the score over all brands, which comes last; None where nothing was scored."""
    return result.scores[-1] if result.scores else None


def training_spend(result: DemoResult) -> Spend | None:
    """Return the spend of the purpose that was trained for: the one that cost most."""
    return max(result.spends, key=lambda item: (item.epsilon, item.ceiling), default=None)
