"""A budget's plan as tables."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from consent.planning.plan import BudgetPlan, ModeErrors, PlannedRound

SHOWN_ROUNDS = 12
"""Rounds after the first are alike but for epsilon, so that some of them tell the rest."""


def tables(plan: BudgetPlan) -> Iterator[RenderableType]:
    """Yield what a plan says: its terms, its rounds, what a customer pays, and what is left of the signal."""
    yield _terms(plan)
    yield _rounds(plan)
    yield _customers(plan)
    yield _errors(plan)


def _terms(plan: BudgetPlan) -> str:
    shared = f", {plan.dropouts} may drop out, {plan.colluders} may collude" if plan.mode == "distributed" else ""
    return (
        f"trust mode {plan.mode}: {plan.brands} brands{shared}; {plan.customers:,} customers; "
        f"epsilon {plan.epsilon:g} at delta {plan.delta:g}. Nothing is spent by planning."
    )


def _rounds(plan: BudgetPlan) -> Table:
    table = _table("Rounds", "round", "what is summed", "noise multiplier", "noise in the sum", "epsilon so far")
    for line in _some(plan.rounds):
        numbers = (f"{line.noise_multiplier:.3f}", f"{line.noise:.4g}", f"{line.epsilon:.4f}")
        table.add_row(str(line.number), line.phase, *numbers)
    return table


def _some(rounds: tuple[PlannedRound, ...]) -> list[PlannedRound]:
    if len(rounds) <= SHOWN_ROUNDS:
        return list(rounds)
    step = (len(rounds) - 2) / (SHOWN_ROUNDS - 2)
    return [rounds[0], *(rounds[1 + round(step * place)] for place in range(SHOWN_ROUNDS - 1))]


def _customers(plan: BudgetPlan) -> Table:
    table = _table("What the run costs a customer", "at brands", "epsilon")
    for brands, epsilon in enumerate(plan.epsilon_at, start=1):
        table.add_row(str(brands), f"{epsilon:.4f}")
    return table


def _errors(plan: BudgetPlan) -> Table:
    table = _table("Error by noise alone (standard deviations)", "of", *(found.mode for found in plan.errors))
    rows = (
        ("a count, in customers", "count"),
        ("the label's rate", "rate"),
        ("a coordinate of the mean gradient", "gradient"),
        ("the mean gradient, over the clip norm", "gradient_share"),
        ("a mean in [0, 1], alone on the budget", "mean"),
    )
    for title, name in rows:
        table.add_row(title, *(_number(found, name) for found in plan.errors))
    for found in plan.errors:
        if found.unavailable:
            table.caption = f"{found.mode}: {found.unavailable}"
    return table


def _number(found: ModeErrors, name: str) -> str:
    value = getattr(found, name)
    return "-" if value is None else f"{value:.3g}"


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table
