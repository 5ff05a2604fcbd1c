"""`confide privacy plan`: it says what the ledgers will, and bad input gets one sentence."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from small_federation import small_task
from typer.testing import CliRunner

from confide import app
from consent.contract import PrivacyTarget
from consent.contract.plan import solver_for
from consent.planning import plan_budget
from privacy import accounting
from privacy.randomness import SystemNoise

BAD_INPUT = 2


def plan(*words: str) -> Result:
    return CliRunner().invoke(app, ["privacy", "plan", *words])


def planned(folder: Path, *words: str) -> dict[str, Any]:
    file = folder / "plan.json"
    result = plan(*words, "--json", str(file))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def task_file(folder: Path, **privacy: Any) -> Path:
    target = PrivacyTarget(**{"epsilon": 1.0, "delta": 1e-6, "trust_mode": "distributed", **privacy})
    file = folder / "task.json"
    file.write_bytes(small_task(privacy=target).canonical_bytes())
    return file


def test_a_task_is_planned_as_it_will_be_counted(tmp_path: Path) -> None:
    found = planned(tmp_path, "--task", str(task_file(tmp_path, max_brands_per_customer=2)), "--brands", "4")
    task = small_task(
        privacy=PrivacyTarget(epsilon=1.0, delta=1e-6, trust_mode="distributed", max_brands_per_customer=2)
    )
    solver = solver_for(task, brands=4)
    assert [line["number"] for line in found["rounds"]] == list(range(task.total_rounds))
    assert [line["phase"] for line in found["rounds"]] == ["marginals"] + ["gradient"] * task.solver.rounds
    multipliers = [solver.noise_multiplier(number) / 2 for number in range(task.total_rounds)]
    for line in found["rounds"]:
        spent = accounting.epsilon(multipliers[: line["number"] + 1], 1e-6)
        assert line["epsilon"] == pytest.approx(spent, rel=1e-12)
    assert found["epsilon_at"] == [solver.epsilon_at(1), solver.epsilon_at(2)]
    assert found["epsilon_at"][-1] == pytest.approx(1.0)
    assert (found["mode"], found["brands"], found["dropouts"], found["colluders"]) == ("distributed", 4, 0, 1)


@pytest.mark.parametrize("most", [1, 2])
def test_the_stated_errors_are_those_of_what_is_released(most: int) -> None:
    """Against noise that is drawn as brands draw it."""
    privacy = PrivacyTarget(
        epsilon=1.0, delta=1e-6, trust_mode="distributed", max_brands_per_customer=most, dropouts=1
    )
    task = small_task(privacy=privacy)
    found = {line.mode: line for line in plan_budget(task, brands=5, customers=8_000).errors}
    shared = solver_for(task, brands=5)
    apart = solver_for(task.model_copy(update={"privacy": privacy.model_copy(update={"trust_mode": "local"})}))
    size, source = 40_000, SystemNoise()
    drawn = {
        "distributed": sum(shared.shares(None).draw(size, source.random_bytes) for _ in range(5)),
        "local": sum(apart.mechanism(None).draw(size, source) for _ in range(5)),
    }
    for mode, noise in drawn.items():
        deviation = float(np.std(noise)) * shared.mechanism(None).grid
        assert found[mode].count == pytest.approx(deviation, rel=0.03)
        assert found[mode].rate == pytest.approx(deviation / 8_000, rel=0.03)
    assert found["local"].gradient_share is not None


def test_one_noise_among_all_brands_is_worth_the_root_of_their_number(tmp_path: Path) -> None:
    words = ("--brands", "9", "--customers", "50000", "--colluders", "0")
    errors = {line["mode"]: line for line in planned(tmp_path, *words)["errors"]}
    for name in ("count", "rate", "gradient", "gradient_share", "mean"):
        assert errors["local"][name] / errors["distributed"][name] == pytest.approx(3.0, rel=1e-3)
    alone = accounting.total_multiplier(1.0, 1e-6)
    assert errors["distributed"]["mean"] == pytest.approx(alone / 50_000, rel=2e-3)


def test_dropouts_and_colluders_cost_noise(tmp_path: Path) -> None:
    noises = [
        planned(tmp_path, "--brands", "7", "--dropouts", str(dropouts), "--colluders", str(colluders))["rounds"][
            1
        ]["noise"]
        for dropouts, colluders in ((0, 0), (1, 0), (1, 1), (2, 1))
    ]
    assert noises == pytest.approx([noises[0] * math.sqrt(7 / fewest) for fewest in (7, 6, 5, 4)], rel=1e-6)


def test_the_tables_say_what_a_reader_asks() -> None:
    result = plan("--brands", "5", "--customers", "7000", "--brands-per-customer", "2")
    assert result.exit_code == 0
    for words in ("5 brands", "7,000 customers", "noise multiplier", "epsilon so far", "local", "distributed"):
        assert words in result.output
    assert "Nothing is spent" in result.output
    assert result.output.count("gradient") < 15


def test_two_brands_are_told_why_they_have_no_secure_sum(tmp_path: Path) -> None:
    found = planned(tmp_path, "--brands", "2", "--mode", "local")
    local, distributed = found["errors"]
    assert local["unavailable"] is None
    assert distributed["count"] is None
    assert "3 to 100" in distributed["unavailable"]


BAD = {
    "epsilon": (["--epsilon", "0"], "epsilon"),
    "delta": (["--delta", "0.5"], "delta"),
    "rounds": (["--rounds", "0"], "rounds"),
    "no brands": (["--brands", "0"], "--brands"),
    "too few for a secure sum": (["--brands", "2"], "3 to 100"),
    "too many drop out": (["--brands", "5", "--dropouts", "3"], "can not stand"),
    "too many collude": (["--brands", "5", "--colluders", "5"], "can not stand"),
    "no customers": (["--customers", "0"], "--customers"),
    "no features": (["--features", "0"], "--features"),
    "many features": (["--features", "513"], "--features"),
    "at no brand": (["--brands-per-customer", "0"], "max_brands_per_customer"),
    "no such task": (["--task", "missing.json"], "can not be read"),
    "task and target": (["--task", "missing.json", "--epsilon", "1"], "not both"),
    "a folder to write to": (["--json", "."], "is a folder"),
    "a file as a folder": (["--json", "/dev/null/plan.json"], "can not be written"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input_gets_one_sentence(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, said = BAD[fault]
    result = plan(*words)
    assert result.exit_code == BAD_INPUT
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"no json", b'{"version": 2}'])
def test_a_file_that_is_no_task_gets_one_sentence(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_bytes(content)
    result = plan("--task", str(file))
    assert result.exit_code == BAD_INPUT
    assert len(result.stderr.strip().splitlines()) == 1
