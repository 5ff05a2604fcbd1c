"""Progress while a federation runs: live on a terminal, plain lines elsewhere."""

import io
import re

import pytest
from rich.console import Console

from simulations.display import LiveProgress
from simulations.results import RoundPoint

ESCAPE = "\x1b"


def _point(number: int, *, auc: float | None = 0.8, withdrawn: int = 0) -> RoundPoint:
    return RoundPoint(number, 0.1 * (number + 1), auc, {"acme": 2048, "[red]zeta": 64}, withdrawn)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _plain(clock: _Clock | None = None) -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60, get_time=clock or _Clock())


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_stages_are_one_plain_line_each_where_there_is_no_terminal() -> None:
    clock = _Clock()
    console = _plain(clock)
    with LiveProgress(console) as progress:
        progress.stage("generating brands")
        clock.now = 12.34
        progress.stage("recording [consents]")
    lines = [re.split(r"\s{2,}", line.strip()) for line in _text(console).splitlines()]
    assert lines == [["0.0 s", "generating brands"], ["12.3 s", "recording [consents]"]]


def test_every_tenth_round_and_the_last_are_printed() -> None:
    console = _plain()
    with LiveProgress(console) as progress:
        for number in range(24):
            progress.round(_point(number, auc=0.8 if number else None, withdrawn=number % 2), 24, 4.0)
    lines = _text(console).splitlines()
    assert [re.findall(r"\((\d+) of 24\)", line) for line in lines] == [["1"], ["11"], ["21"], ["24"]]
    assert "epsilon 0.100 of 4" in lines[0]
    assert "AUC \N{EM DASH}" in lines[0]
    assert "AUC 0.800" in lines[1]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["0", "5", "10", "12"]
    assert ESCAPE not in _text(console)


def test_a_round_that_is_reported_again_is_counted_once() -> None:
    console = _plain()
    with LiveProgress(console) as progress:
        progress.round(_point(0, withdrawn=7), 2, 4.0)
        progress.round(_point(0, withdrawn=7), 2, 4.0)
    assert _text(console).splitlines()[-1].endswith("withdrawn 7")


def test_a_terminal_shows_everything_live() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=100, height=40)
    with LiveProgress(console) as progress:
        progress.stage("generating brands")
        progress.stage("training")
        progress.round(_point(3, auc=0.7654, withdrawn=5), 41, 4.0)
        progress.round(_point(4, auc=None, withdrawn=6), 41, 4.0)
    last = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", _text(console)).rsplit("generating brands", 1)[1]
    for shown in (
        "training",
        "4 (5 of 41)",
        "0.500 of 4",
        "0.765",
        "11",
        "acme 2,048+",
        "[red]zeta 64+",
        "\u2501",
    ):
        assert shown in last


def _fail(console: Console) -> None:
    with LiveProgress(console) as progress:
        progress.stage("training")
        progress.stage("deciding")
        raise RuntimeError("broken")


def test_a_failure_is_passed_on_and_its_stage_named() -> None:
    console = _plain()
    with pytest.raises(RuntimeError, match="broken"):
        _fail(console)
    assert _text(console).endswith("stopped while deciding\n")


def test_a_failed_stage_is_not_ticked_off_on_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=100)
    with pytest.raises(RuntimeError, match="broken"):
        _fail(console)
    last = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", _text(console))
    assert re.search(r"\N{CHECK MARK} training .*\s+x deciding ", last.replace("\r", ""))
