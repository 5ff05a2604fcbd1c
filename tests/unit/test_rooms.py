"""The arrows between rooms hold, and the packages under test are those of this checkout."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
ROOMS = ("privacy", "consent", "client", "server", "simulations")


def test_the_import_contracts_of_pyproject_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


@pytest.mark.parametrize("room", [*ROOMS, "confide"])
def test_a_room_is_imported_from_this_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)
    assert (module.__doc__ or "").strip()


def test_the_relay_starts_without_torch_or_the_brands_data_code() -> None:
    forbidden = ("torch", "opacus", "duckdb", "ibis", "client.agent", "client.training", "client.features")
    code = f"import sys, client.app; print([name for name in {forbidden!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
