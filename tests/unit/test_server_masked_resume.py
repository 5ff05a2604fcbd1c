"""A coordinator under the secure sum that is stopped in any state goes on to the same model."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from masking_bench import BRANDS, MaskingBench
from masking_checks import ROUNDS, abandoned, asked, check_sums

from consent.contract import wire
from server.errors import ResumeError, RoundIncompleteError
from server.masked_sums import SecureProtocol
from server.runs import RunFolder
from server.setup import AGREED_FILE, SETUP_FILE

EVERYONE = tuple(BRANDS)


@pytest.fixture
def bench(tmp_path: Path) -> MaskingBench:
    return MaskingBench(tmp_path / "run")


class Died(BaseException):
    """The coordinator was stopped."""


def die_in(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, *, nth: int, after: bool) -> None:
    """Make a method stop the coordinator at its nth call, before or after it is done."""
    method: Callable[..., Any] = getattr(kind, name)
    calls = [0]

    def dying(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] != nth:
            return method(*arguments, **options)
        if after:
            method(*arguments, **options)
        raise Died

    monkeypatch.setattr(kind, name, dying)


STOPS: dict[str, tuple[Any, str, int, bool]] = {
    "before the setup is kept": (RunFolder, "keep", 1, False),
    "after the setup is kept": (RunFolder, "keep", 1, True),
    "before what was agreed is kept": (RunFolder, "keep", 2, False),
    "after what was agreed is kept": (RunFolder, "keep", 2, True),
    "before a round is opened": (SecureProtocol, "open", 2, False),
    "after a round is opened": (SecureProtocol, "open", 2, True),
    "when a sum arrives": (SecureProtocol, "arrived", 8, True),
    "before the sums are kept": (SecureProtocol, "closing", 2, True),
    "after the sums are kept": (RunFolder, "keep", 4, True),
    "when a brand helps": (SecureProtocol, "helped", 6, True),
    "after the sum is open": (SecureProtocol, "total", 2, True),
    "after the state is saved": (RunFolder, "save", 2, True),
    "after the release": (SecureProtocol, "commit", 2, True),
    "after the last release": (SecureProtocol, "commit", 3, True),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    bench = MaskingBench(tmp_path_factory.mktemp("undisturbed"))
    bench.run()
    return bench.service.releases[-1].body.model_after


@pytest.mark.parametrize("stop", STOPS)
def test_a_coordinator_that_is_stopped_goes_on_to_the_same_model(
    stop: str, bench: MaskingBench, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, name, nth, after = STOPS[stop]
    with monkeypatch.context() as patch:
        die_in(patch, kind, name, nth=nth, after=after)
        with pytest.raises(Died):
            bench.run()
    bench.now += timedelta(minutes=1)
    bench.run()
    check_sums(bench)
    assert bench.service.releases[-1].body.model_after == undisturbed
    assert len({one.body.round for one in bench.service.closings}) == len(bench.service.closings) == len(ROUNDS)
    assert [one.body.attempt for one in bench.service.manifests] == [0] * len(ROUNDS)
    slots = [one[2] for one in asked(bench)]
    assert len(set(slots)) == len(slots)


def test_a_stop_between_closing_and_its_record_sends_the_same_closing(
    bench: MaskingBench, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for after in (False, True):
        with monkeypatch.context() as patch:
            die_in(patch, type(bench.service), "close_round", nth=1, after=after)
            with pytest.raises(Died):
                bench.run()
    bench.run()
    check_sums(bench)
    assert asked(bench) == [(number, 0, number, EVERYONE) for number in ROUNDS]
    assert bench.service.releases[-1].body.model_after == undisturbed


def test_a_closing_that_the_service_refuses_opens_nothing_and_the_round_goes_on(bench: MaskingBench) -> None:
    bench.service.refuse_closing = lambda closing: (closing.round, closing.attempt) == (1, 0)
    bench.run()
    check_sums(bench)
    assert abandoned(bench) == [(1, 0, "refused")]
    assert asked(bench)[2] == (1, 1, 2, EVERYONE)


def test_sums_of_a_closed_round_that_are_gone_or_spoilt_are_said(bench: MaskingBench) -> None:
    bench.lost = lambda reply, brand: reply.metadata.message_type == wire.OPEN_MESSAGE
    with pytest.raises(RoundIncompleteError):
        bench.run()
    bench.lost = lambda _reply, _brand: False
    kept = bench.folder / "closed-0000.npz"
    content = kept.read_bytes()
    for damage, words in (
        (content[:-30], "can not be read"),
        (b"", "can not be read"),
        (None, "restore the folder"),
    ):
        if damage is None:
            kept.unlink()
        else:
            kept.write_bytes(damage)
        with pytest.raises(ResumeError, match=words):
            bench.run()
    kept.write_bytes(content)
    bench.run()
    check_sums(bench)
    assert not list(bench.folder.glob("closed-*"))


def test_a_run_folder_that_is_another_runs_is_refused(bench: MaskingBench, tmp_path: Path) -> None:
    bench.run()
    stranger = MaskingBench(tmp_path / "other")
    stranger.folder.mkdir()
    for name in (SETUP_FILE, AGREED_FILE):
        (stranger.folder / name).write_bytes((bench.folder / name).read_bytes())
        with pytest.raises(ResumeError, match="other brands than the settings"):
            stranger.run()
        (stranger.folder / name).unlink()
        (stranger.folder / name).write_text("{}")
        with pytest.raises(ResumeError, match="can not be read"):
            stranger.run()
        (stranger.folder / name).unlink()
    stranger.run()
    check_sums(stranger)
