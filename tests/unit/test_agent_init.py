"""`confide agent init`: the brand's keys are made at the brand, once, and only the public one is shown."""

import stat
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from client.agent.keyring import AgentKeys
from client.commands import agent
from consent.contract import SigningKey


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings as they are before the brand is enrolled: the tokens are not there yet."""
    settings = {
        "brand": "birch",
        "data_dir": str(tmp_path / "agent"),
        "consent_url": "http://127.0.0.1:1",
        "consent_token_file": str(tmp_path / "consent.token"),
        "consent_key": SigningKey.generate().public_key,
        "coordinator_key": SigningKey.generate().public_key,
        "relay_token_file": str(tmp_path / "relay.token"),
        "customers": {"kind": "table", "path": str(tmp_path / "customers.csv"), "id_column": "customer"},
        "purposes": {"conversion": {"epsilon": 1.0}},
    }
    path = tmp_path / "confide.toml"
    path.write_text(tomli_w.dumps({"agent": settings}))
    monkeypatch.setenv("CONFIDE_CONFIG", str(path))
    return path


def test_init_makes_the_keys_once_and_shows_the_public_one(config: Path) -> None:
    folder = config.parent / "agent"
    first, again = CliRunner().invoke(agent, ["init"]), CliRunner().invoke(agent, ["init"])
    assert first.exit_code == again.exit_code == 0
    assert first.output == again.output == f"{AgentKeys.open(folder).signing.public_key}\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_settings_that_are_not_usable_are_named(config: Path) -> None:
    config.write_text('[agent]\nbrand = "birch"\nspeed = 3\n')
    result = CliRunner().invoke(agent, ["init"])
    assert result.exit_code == 2
    assert "data_dir" in result.output
    assert "speed" in result.output
