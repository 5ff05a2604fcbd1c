"""The report's figures with their words: what each shows, and who could see it outside the laboratory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from simulations.display import plots, wording
from simulations.display.svg import inline_svg
from simulations.results import DemoResult

_LABORATORY = "The laboratory alone, which made the customers up."


@dataclass(frozen=True)
class ReportFigure:
    """A figure on the page.

    Attributes:
        key: its anchor.
        title: its heading.
        shows: one plain sentence.
        seen_by: who can see it here, and who could in a deployment.
        svg: the drawing, already safe as markup.
    """

    key: str
    title: str
    shows: str
    seen_by: str
    svg: Markup


def figures(result: DemoResult) -> tuple[ReportFigure, ...]:
    """Draw every figure that there are values for."""
    return tuple(_figures(result))


def _figures(result: DemoResult) -> Iterator[ReportFigure]:
    if any(point.auc is not None for point in result.rounds):
        yield _auc_by_round(result)
    if result.scores:
        yield _auc_by_brand(result)
    spend = wording.training_spend(result)
    if result.rounds and spend is not None and spend.ceiling > 0:
        yield _budget(result, spend.ceiling)
    if result.coverage:
        yield _coverage(result)
    if any(item.customers for item in result.calibration):
        yield _calibration(result)
    if math.isfinite(result.lift.difference):
        yield _lift(result)


def _auc_by_round(result: DemoResult) -> ReportFigure:
    scored = [point for point in result.rounds if point.auc is not None]
    overall = wording.overall(result)
    levels = (
        f" Brands alone reach {wording.score(overall.alone)}, pooled rows {wording.score(overall.pooled)}."
        if overall
        else ""
    )
    return _figure(
        "auc-by-round",
        "How good the shared model became",
        "How well the shared model tells customers who will convert from those who will not, round by round, "
        "beside brands that train alone under the same privacy and a model on everybody's rows without any.",
        f"{_LABORATORY} A deployment does not compute it: on real customers it would be one more release.",
        plots.auc_by_round(result.rounds, overall),
        f"AUC by round, from {wording.score(scored[0].auc)} in round {scored[0].round} "
        f"to {wording.score(scored[-1].auc)} in round {scored[-1].round}.{levels}",
    )


def _auc_by_brand(result: DemoResult) -> ReportFigure:
    each = "; ".join(
        f"{item.name}: alone {wording.score(item.alone)}, federated {wording.score(item.federated)}, "
        f"pooled {wording.score(item.pooled)}"
        for item in result.scores
    )
    return _figure(
        "auc-by-brand",
        "What each brand gains",
        "What a brand gets from training together, over what it would get alone: the further the filled circle is "
        "to the right of the empty one, the more it gains.",
        f"{_LABORATORY} A brand could measure its own row on its own customers; the pooled model can not exist.",
        plots.auc_by_brand(result.scores),
        f"AUC by brand. {each}.",
    )


def _budget(result: DemoResult, ceiling: float) -> ReportFigure:
    last = result.rounds[-1].epsilon
    return _figure(
        "budget",
        "What is left of the privacy budget",
        "How much of each customer's epsilon is left after every round; when nothing is left, the brands' "
        "agents refuse to go on.",
        "Everybody who may read the audit log: spending follows from the task's settings and from nobody's data.",
        plots.budget_burn_down(result.rounds, ceiling),
        f"Epsilon left by round, from {ceiling:g} to {max(ceiling - last, 0):.3f} "
        f"after {len(result.rounds)} rounds.",
    )


def _coverage(result: DemoResult) -> ReportFigure:
    each = "; ".join(
        f"{item.brand}, {item.purpose}: {item.granted} said yes, {item.withdrawn} withdrew, "
        f"{item.never_asked} never asked"
        for item in result.coverage
    )
    return _figure(
        "coverage",
        "Who agreed to what",
        "For each purpose, the share of a brand's customers who said yes, took it back or were never asked; only "
        "the first are ever used.",
        "The brand itself and the consent service's officer; coordinator and other brands see each cohort rounded "
        "down to a power of two.",
        plots.consent_coverage(result.coverage),
        f"Consent coverage. {each}.",
    )


def _calibration(result: DemoResult) -> ReportFigure:
    each = "; ".join(
        f"predicted {item.predicted:.1%}, converted {item.observed:.1%} of {item.customers}"
        for item in result.calibration
        if item.customers
    )
    return _figure(
        "calibration",
        "Whether its probabilities can be believed",
        "Whether, of customers who are given a chance of 20 %, about 20 % convert: points on the dashed line mean "
        "yes, and the bars below say how many customers each point rests on.",
        f"{_LABORATORY} It rests on held-out customers of all brands together.",
        plots.calibration(result.calibration),
        f"Calibration by bin: {each}.",
    )


def _lift(result: DemoResult) -> ReportFigure:
    return _figure(
        "lift",
        "Whether the decisions changed anything",
        "How much more often customers converted than a random holdout that was left in peace; if the bar stays "
        "clear of zero, chance is an unlikely explanation.",
        f"{_LABORATORY} A brand can measure the lift over its own holdout, never that of another brand.",
        plots.lift_interval(result.lift),
        f"Lift of {wording.lift(result.lift)}; {wording.lift_verdict(result.lift)}.",
    )


def _figure(key: str, title: str, shows: str, seen_by: str, drawing: Figure, label: str) -> ReportFigure:
    drawn = Markup(inline_svg(drawing, key=key, label=label))  # noqa: S704 - matplotlib escapes its text, label is escaped
    return ReportFigure(key, title, shows, seen_by, drawn)
