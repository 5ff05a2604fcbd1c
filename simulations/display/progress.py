"""What is going on while a federation runs: live on a terminal, a few plain lines anywhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from simulations.display import wording
from simulations.results import RoundPoint

PLAIN_EVERY = 10
"""Rounds between two lines where the output is not a terminal."""
_BAR_WIDTH = 48
_REFRESHES_PER_SECOND = 8


@dataclass(frozen=True)
class _Stage:
    """A stage, with the console's time in seconds at which it began and ended."""

    name: str
    began: float
    ended: float | None = None


@dataclass(frozen=True)
class _State:
    """Everything shown; replaced as a whole, because the display reads it from its own thread."""

    stages: tuple[_Stage, ...] = ()
    point: RoundPoint | None = None
    total_rounds: int = 0
    ceiling: float = 0.0
    auc: float | None = None
    withdrawn: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """Customers who withdrew, by the round that reported them."""
    stopped: bool = False


class LiveProgress:
    """Shows stages and rounds on a console for as long as its context lasts.

    Args:
        console: where to show them; its clock times the stages.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = _State()
        self._began = console.get_time()
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = self._console.get_time()
        if self._console.is_interactive:
            self._live = Live(
                console=self._console, get_renderable=self._render, refresh_per_second=_REFRESHES_PER_SECOND
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_stage(stopped=kind is not None)
        if self._live is not None:
            self._live.stop()
        elif kind is not None and self._state.stages:
            self._print(f"stopped while {self._state.stages[-1].name}")

    def stage(self, name: str) -> None:
        """Begin a stage, which ends the one before."""
        self._end_stage()
        begun = _Stage(name, self._console.get_time())
        self._state = replace(self._state, stages=(*self._state.stages, begun))
        if self._live is None:
            self._print(name)

    def round(self, point: RoundPoint, total_rounds: int, ceiling: float) -> None:
        """Show a released round.

        Args:
            point: the round; numbers begin at 0. One that is reported again replaces what it said before.
            total_rounds: how many rounds there are to be, round 0 included.
            ceiling: the epsilon that may be spent.
        """
        self._state = replace(
            self._state,
            point=point,
            total_rounds=total_rounds,
            ceiling=ceiling,
            auc=self._state.auc if point.auc is None else point.auc,
            withdrawn=MappingProxyType({**self._state.withdrawn, point.round: point.withdrawn}),
        )
        if self._live is None and (point.round % PLAIN_EVERY == 0 or point.round + 1 >= total_rounds):
            self._print(", ".join(f"{label} {value}" for label, value in _facts(self._state)))

    def _end_stage(self, *, stopped: bool = False) -> None:
        stages = self._state.stages
        if stages:
            ended = replace(stages[-1], ended=self._console.get_time())
            self._state = replace(self._state, stages=(*stages[:-1], ended), stopped=stopped)

    def _print(self, line: str) -> None:
        elapsed = self._console.get_time() - self._began
        self._console.print(f"{elapsed:6.1f} s  {line}", markup=False, highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        state = self._state
        parts: list[RenderableType] = [_stages(state, self._spinner, self._console.get_time())]
        if state.point is not None:
            parts.append(Padding(_rounds(state, state.point), (1, 0, 0, 2)))
        return Padding(Group(*parts), (1, 0))


def _facts(state: _State) -> list[tuple[str, str]]:
    point = state.point
    if point is None:
        return []
    return [
        ("round", f"{point.round} ({point.round + 1} of {state.total_rounds})"),
        ("epsilon", f"{wording.epsilon(point.epsilon)} of {state.ceiling:g}"),
        ("AUC", wording.score(state.auc)),
        ("withdrawn", wording.count(sum(state.withdrawn.values()))),
    ]


def _stages(state: _State, spinner: Spinner, now: float) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(min_width=24)
    table.add_column(justify="right", style="dim")
    for stage in state.stages:
        seconds = f"{(now if stage.ended is None else stage.ended) - stage.began:.1f} s"
        failed = state.stopped and stage is state.stages[-1]
        done = Text("x", "bold red") if failed else Text("\N{CHECK MARK}", "green")
        running = stage.ended is None
        name = Text(stage.name, "bold" if running or failed else "dim")
        table.add_row(spinner if running else done, name, seconds)
    return table


def _rounds(state: _State, point: RoundPoint) -> Table:
    cohorts = Text("   ").join(
        Text.assemble((brand, "dim"), " ", wording.size_class(size)) for brand, size in point.cohort.items()
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=10)
    table.add_column()
    total = max(state.total_rounds, 1)
    table.add_row("progress", ProgressBar(total=total, completed=min(point.round + 1, total), width=_BAR_WIDTH))
    for label, value in _facts(state):
        table.add_row(label, Text(value))
    table.add_row("cohorts", cohorts)
    return table
