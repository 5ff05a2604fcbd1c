"""`confide simulate` from end to end, as its user runs it."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from confide import app

DATA = Path(os.environ.get("CONFIDE_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
TELCO = DATA / "telco_churn" / "telco_customer_churn.csv"


def confide(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import confide; confide.main()", *(str(word) for word in words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def small_csv(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    spend, plan = rng.normal(size=400), rng.integers(0, 3, 400)
    bought = rng.random(400) < 1 / (1 + np.exp(-2 * spend - plan + 1))
    others = rng.normal(size=(400, 4))
    rows = [
        ",".join([f"{x:.3f}", "abc"[p], *(f"{value:.3f}" for value in more), str(int(y))])
        for x, p, more, y in zip(spend, plan, others, bought, strict=True)
    ]
    path = folder / "table.csv"
    path.write_text("\n".join(["spend,plan,visits,age,orders,returns,bought", *rows]))
    return path


def test_the_commands_are_registered() -> None:
    assert {entry.name for entry in entry_points(group="confide.commands")} >= {
        "demo",
        "simulate",
        "audit",
        "consent",
    }
    assert entry_points(group="console_scripts", name="confide")["confide"].value == "confide:main"
    listed = CliRunner().invoke(app, ["--help"]).stdout
    for name in ("agent", "audit", "consent", "demo", "simulate"):
        assert name in listed
    assert "--epsilon" in CliRunner().invoke(app, ["simulate", "--help"], env={"COLUMNS": "200"}).stdout


def check_document(found: dict[str, Any], *, brands: int, rounds: int, epsilon: float, delta: float) -> None:
    """Hold a JSON document against the fields that are promised."""
    assert {"auc", "auc_std", "epsilon", "delta", "rounds", "brands", "log"} <= found.keys()
    assert 0.5 < found["auc"] <= 1.0
    assert found["auc_std"] >= 0
    assert found["epsilon"] == pytest.approx(epsilon, rel=1e-9)
    assert found["delta"] == delta
    assert found["rounds"] == rounds + 1
    assert [brand["name"] for brand in found["brands"]] == [f"brand-{number + 1}" for number in range(brands)]
    for brand in found["brands"]:
        assert {"name", "customers", "auc"} <= brand.keys()
        assert brand["customers"] > 0
        assert 0.0 <= brand["auc"] <= 1.0
    assert {"path", "size", "root"} <= found["log"].keys()


def test_a_small_run_under_the_secure_sum_says_its_mode_and_noise(tmp_path: Path) -> None:
    options = (
        "--brands",
        4,
        "--rounds",
        2,
        "--seeds",
        1,
        "--epsilon",
        4,
        "--run-id",
        "one",
        "--minimum-cohort",
        20,
    )
    trust = ("--mode", "distributed", "--colluders", 0, "--dropouts", 1, "--brands-per-customer", 2)
    words = ("simulate", "--csv", small_csv(tmp_path), "--target", "bought", *options, *trust, "--noise-seed", 5)
    done = confide(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "NO privacy guarantee" in told
    assert "per customer at up to 2 brands, over all 3 rounds" in told
    assert "only sums over brands were opened; each had 1.33 times the noise" in told
    found = json.loads((tmp_path / "runs" / "one" / "result.json").read_text())
    assert (found["mode"], found["dropouts"], found["colluders"], found["brands_per_customer"]) == (
        "distributed",
        1,
        0,
        2,
    )
    assert found["seeds"][0]["noise"] == [4 / 3] * 3
    assert found["epsilon_by_brands"] == sorted(found["epsilon_by_brands"])
    assert found["epsilon_by_brands"][-1] == pytest.approx(4.0, rel=1e-9) == found["epsilon"]


def test_a_small_run_writes_what_is_promised_and_its_log_verifies(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options = ("--brands", 2, "--epsilon", 4, "--rounds", 3, "--seeds", 2, "--run-id", "one", "--json", out)
    words = ("simulate", "--csv", small_csv(tmp_path), "--target", "bought", *options)
    done = confide(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "CSPRNG" in done.stdout
    found = json.loads(out.read_text())
    check_document(found, brands=2, rounds=3, epsilon=4.0, delta=1e-6)
    assert sum(brand["customers"] for brand in found["brands"]) == 320
    assert found["guaranteed"] is True
    assert found["audit"]["holds"], found["audit"]
    assert found["audit"]["claimed"] == pytest.approx(4.0)
    assert "below the 4.00 that is claimed" in " ".join(done.stdout.split())
    log = Path(tmp_path, found["log"]["path"])
    assert found["log"]["size"] > 320
    verified = CliRunner().invoke(app, ["audit", "verify", str(log)])
    assert verified.exit_code == 0, verified.output
    # Run again, it finds everything done and says the same.
    out.unlink()
    again = confide(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    repeated = json.loads(out.read_text())
    assert (repeated["auc"], repeated["epsilon"], repeated["rounds"]) == (
        found["auc"],
        found["epsilon"],
        found["rounds"],
    )
    assert repeated["log"]["root"] == found["log"]["root"]


def test_bad_input_is_one_sentence_to_a_real_shell(tmp_path: Path) -> None:
    done = confide("simulate", "--csv", "nothing.csv", "--target", "bought", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "There is no file nothing.csv; check the path.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(
    not TELCO.is_file(), reason="the telco churn table is not in ../shared/data (CONFIDE_TEST_DATA)"
)
def test_five_brands_learn_churn_at_epsilon_one(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ("simulate", "--csv", TELCO, "--target", "Churn", "--drop", "CustomerID", "--seeds", 1, "--json", out)
    done = confide(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    check_document(found, brands=5, rounds=40, epsilon=1.0, delta=1e-6)
    assert found["auc"] > 0.80
