"""The figures of a demo's report, one function each.

Every function returns a matplotlib `Figure` of its own (no pyplot, no global state) in the colours of `LIGHT`.
Values that could not be computed are left out.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from math import isfinite
from typing import ParamSpec

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from simulations.display import wording
from simulations.display.svg import LIGHT, house_style
from simulations.results import BrandScore, CalibrationBin, Coverage, LiftResult, RoundPoint

_WIDTH = 4.9
"""Inches; small enough for a phone to show its text legibly, large enough for a page."""
_NAME_LENGTH = 22
_P = ParamSpec("_P")


def _styled(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with house_style():
            return draw(*args, **kwargs)

    return styled


@_styled
def auc_by_round(rounds: Sequence[RoundPoint], overall: BrandScore | None) -> Figure:
    """Draw the shared model's AUC by round, with the level of brands alone and of pooled rows."""
    figure, axes = _canvas(2.8)
    points = [(point.round, point.auc) for point in rounds if point.auc is not None and isfinite(point.auc)]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=LIGHT.accent,
        linewidth=2.2,
        marker="o",
        markersize=2.8,
        label=wording.FEDERATED,
    )
    if overall is not None and isfinite(overall.alone):
        axes.axhline(overall.alone, color=LIGHT.faint, linewidth=1.4, linestyle=(0, (6, 3)), label=wording.ALONE)
    if overall is not None and isfinite(overall.pooled):
        axes.axhline(overall.pooled, color=LIGHT.ink, linewidth=1.2, linestyle=(0, (1, 2)), label=wording.POOLED)
    axes.set_xlabel("round")
    axes.set_ylabel("AUC")
    axes.margins(y=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, axes)
    return figure


@_styled
def auc_by_brand(scores: Sequence[BrandScore]) -> Figure:
    """Draw, for each brand and over all, the AUC of the three ways of training."""
    figure, axes = _canvas(0.85 + 0.32 * len(scores))
    ways = (
        (wording.FEDERATED, "o", LIGHT.accent, LIGHT.accent, [item.federated for item in scores]),
        (wording.ALONE, "o", LIGHT.paper, LIGHT.faint, [item.alone for item in scores]),
        (wording.POOLED, "D", LIGHT.ink, LIGHT.ink, [item.pooled for item in scores]),
    )
    for row, item in enumerate(scores):
        known = [value for value in (item.federated, item.alone, item.pooled) if isfinite(value)]
        if known:
            axes.hlines(row, min(known), max(known), color=LIGHT.rule, linewidth=2.5)
    for label, marker, face, edge, values in ways:
        size = 24 if marker == "D" else 48
        axes.scatter(
            values, range(len(scores)), s=size, marker=marker, c=face, edgecolors=edge, linewidths=1.5,
            label=label, zorder=3,
        )  # fmt: skip
    _rows(axes, [item.name for item in scores])
    axes.set_xlabel("AUC on held-out customers")
    _legend(figure, axes)
    return figure


@_styled
def budget_burn_down(rounds: Sequence[RoundPoint], ceiling: float) -> Figure:
    """Draw the epsilon that is left after each released round."""
    figure, axes = _canvas(2.4)
    left = [ceiling, *(ceiling - point.epsilon for point in rounds)]
    released = range(len(left))
    axes.fill_between(released, left, 0, color=LIGHT.accent, alpha=0.12, linewidth=0)
    axes.plot(released, left, color=LIGHT.accent, linewidth=2.2)
    axes.axhline(0, color=LIGHT.ink, linewidth=1)
    axes.set_xlim(0, max(len(rounds), 1))
    axes.set_ylim(min(0.0, *left), ceiling * 1.08)
    axes.set_xlabel("rounds released")
    axes.set_ylabel("epsilon left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@_styled
def calibration(bins: Sequence[CalibrationBin]) -> Figure:
    """Draw what the model promised against what happened, with the size of each bin below."""
    filled = [item for item in bins if item.customers and isfinite(item.predicted) and isfinite(item.observed)]
    figure = Figure(figsize=(_WIDTH, 3.5), layout="constrained")
    axes, sizes = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    predicted = [item.predicted for item in filled]
    end = 1.08 * max([*predicted, *(item.observed for item in filled)], default=1.0)
    axes.plot(
        predicted, [item.observed for item in filled], color=LIGHT.accent, linewidth=1.4, marker="o", markersize=6,
        label="the shared model",
    )  # fmt: skip
    axes.plot(
        [0, end],
        [0, end],
        color=LIGHT.faint,
        linewidth=1.2,
        linestyle=(0, (6, 3)),
        zorder=1,
        label="exactly as predicted",
    )
    axes.set_ylabel("share that converted")
    axes.set_ylim(0, end)
    sizes.vlines(predicted, 0, [item.customers for item in filled], color=LIGHT.faint, linewidth=5)
    sizes.set_ylim(bottom=0)
    sizes.set_xlim(0, end)
    sizes.set_ylabel("customers")
    sizes.set_xlabel("predicted probability")
    sizes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    sizes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _legend(figure, axes)
    return figure


@_styled
def consent_coverage(coverage: Sequence[Coverage]) -> Figure:
    """Draw, for each purpose, which share of a brand's customers said yes, withdrew or was never asked."""
    purposes = list(dict.fromkeys(item.purpose for item in coverage)) or [""]
    brands = list(dict.fromkeys(item.brand for item in coverage))
    figure = Figure(figsize=(_WIDTH, len(purposes) * (0.45 + 0.25 * len(brands)) + 0.55), layout="constrained")
    panels = figure.subplots(len(purposes), 1, sharex=True, squeeze=False)[:, 0]
    for axes, purpose in zip(panels, purposes, strict=True):
        _coverage_bars(axes, brands, {item.brand: item for item in coverage if item.purpose == purpose})
        axes.set_title(_short(purpose, 60))
    _legend(figure, panels[0])
    panels[-1].set_xlabel("share of the brand's customers")
    panels[-1].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


@_styled
def lift_interval(lift: LiftResult) -> Figure:
    """Draw the lift over the holdout with its 95 % interval, in percentage points."""
    figure, axes = _canvas(1.5)
    low, middle, high = (100 * value for value in (lift.low, lift.difference, lift.high))
    axes.axvline(0, color=LIGHT.ink, linewidth=1)
    if isfinite(low) and isfinite(high):
        axes.hlines(0, low, high, color=LIGHT.accent, linewidth=3)
        axes.vlines([low, high], -0.13, 0.13, color=LIGHT.accent, linewidth=2)
        axes.text(low, 0.26, wording.points(lift.low), color=LIGHT.muted, ha="center")
        axes.text(high, 0.26, wording.points(lift.high), color=LIGHT.muted, ha="center")
    if isfinite(middle):
        axes.plot([middle], [0], marker="o", markersize=9, color=LIGHT.accent)
        axes.text(
            middle, 0.26, wording.points(lift.difference), color=LIGHT.accent, ha="center", weight="bold", size=11
        )
    axes.set_ylim(-0.4, 0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.set_xlabel("difference in conversion, percentage points")
    return figure


def _coverage_bars(axes: Axes, brands: Sequence[str], by_brand: dict[str, Coverage]) -> None:
    missing = Coverage("", "", 0, 0, 0)
    items = [by_brand.get(brand, missing) for brand in brands]
    totals = [max(item.granted + item.withdrawn + item.never_asked, 1) for item in items]
    rows = range(len(brands))
    left = [0.0] * len(brands)
    parts = (
        ("said yes", LIGHT.accent, LIGHT.paper, [item.granted for item in items]),
        ("withdrew", LIGHT.faint, LIGHT.paper, [item.withdrawn for item in items]),
        ("never asked", LIGHT.wash, LIGHT.faint, [item.never_asked for item in items]),
    )
    for label, color, edge, counts in parts:
        shares = [number / total for number, total in zip(counts, totals, strict=True)]
        axes.barh(rows, shares, left=left, color=color, height=0.66, label=label, edgecolor=edge, linewidth=0.7)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    for row, (item, total) in enumerate(zip(items, totals, strict=True)):
        axes.text(0.012, row, f"{item.granted / total:.0%}", color=LIGHT.paper, va="center", size=8)
    _rows(axes, brands)
    axes.set_xlim(0, 1)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_short(name, _NAME_LENGTH) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=LIGHT.ink)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(labels), handlelength=1.6, columnspacing=1.4
    )


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}\N{HORIZONTAL ELLIPSIS}"
