"""First start, later starts, settings, keys, the commands, and the client over real HTTP."""

import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from typer.testing import CliRunner

from consent.client import ConsentClient
from consent.commands import consent
from consent.contract import Act, Choice, DecisionQuery, SigningKey
from consent.errors import LogInconsistentError, SetupError, SignatureError, UnavailableError
from consent.service import create_app, initialise
from consent.settings import ConsentSettings
from consent.transport import InProcessTransport
from consent.wire import Role


@pytest.fixture
def settings(tmp_path: Path) -> ConsentSettings:
    return ConsentSettings(data_dir=tmp_path / "consent", publish_interval=0)


def test_secrets_are_files_that_their_owner_alone_can_read(settings: ConsentSettings) -> None:
    token = initialise(settings)
    for name in ("snapshot.key", "log.key", "payload.key", "operator.token"):
        assert stat.S_IMODE((settings.data_dir / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert (settings.data_dir / "operator.token").read_text().strip() == token


def test_initialising_again_keeps_everything(settings: ConsentSettings) -> None:
    first = initialise(settings)
    keys = (settings.data_dir / "log.key").read_bytes()
    assert initialise(settings) == first
    assert (settings.data_dir / "log.key").read_bytes() == keys


def test_a_service_is_never_created_silently(settings: ConsentSettings) -> None:
    with pytest.raises(SetupError, match="confide consent init"):
        create_app(settings)
    assert not settings.data_dir.exists()


@pytest.mark.parametrize("name", ["snapshot.key", "log.key", "payload.key"])
def test_a_key_that_is_missing_or_open_to_others_is_refused(settings: ConsentSettings, name: str) -> None:
    initialise(settings)
    path = settings.data_dir / name
    path.chmod(0o640)
    with pytest.raises(SetupError, match="chmod 600"):
        create_app(settings)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(SetupError, match="32 bytes"):
        create_app(settings)
    path.unlink()
    with pytest.raises(SetupError, match="no key"):
        create_app(settings)


def test_another_log_key_does_not_start(settings: ConsentSettings) -> None:
    initialise(settings)
    (settings.data_dir / "log.key").write_bytes(SigningKey.generate().private_bytes())
    with pytest.raises(SignatureError):
        create_app(settings)


def test_a_database_restored_from_an_old_copy_does_not_start(settings: ConsentSettings) -> None:
    token = initialise(settings)
    old = (settings.data_dir / "consent.db").read_bytes()
    app = create_app(settings)
    with InProcessTransport(app) as transport, httpx.Client(transport=transport, base_url="http://x") as http:
        ConsentClient(http, token).enrol(Role.OFFICER, "officer")
    app.state.workplace.close()
    for leftover in settings.data_dir.glob("consent.db*"):
        leftover.unlink()
    (settings.data_dir / "consent.db").write_bytes(old)
    with pytest.raises(LogInconsistentError, match="old copy"):
        create_app(settings)


def test_init_says_where_the_token_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIDE_CONSENT_DATA_DIR", str(tmp_path / "here"))
    done = CliRunner().invoke(consent, ["init"])
    assert done.exit_code == 0
    assert str(tmp_path / "here" / "operator.token") in done.stdout
    assert (tmp_path / "here" / "operator.token").read_text().strip() not in done.stdout


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CONFIDE_CONSENT_PORT", "none"), ("CONFIDE_CONSENT_DATA_DIR", "/proc/none"), ("CONFIDE_CONFIG", "bad.toml")],
)
@pytest.mark.parametrize("command", ["init", "serve"])
def test_a_bad_start_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("consent = [")
    monkeypatch.setenv(variable, value)
    done = CliRunner().invoke(consent, [command])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def served(settings: ConsentSettings) -> Iterator[tuple[str, str]]:
    token = initialise(settings)
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.005)
    (listening,) = server.servers
    port = listening.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", token
    server.should_exit = True
    thread.join()
    app.state.workplace.close()


def test_the_client_speaks_to_a_served_application(served: tuple[str, str]) -> None:
    address, token = served
    with httpx.Client(base_url=address) as http:
        operator = ConsentClient(http, token)
        key = SigningKey.generate()
        acme = ConsentClient(http, operator.enrol(Role.BRAND, "acme", key.public_key))
        choice = Choice(brand="acme", subject="a" * 64, act=Act.GRANT, channel="sms")
        assert acme.record([choice], idempotency_key="one") == (2,)
        query = DecisionQuery(brand="acme", subject="a" * 64, purpose="any")
        assert acme.decide([query])[0].allowed is False
        assert operator.checkpoint().splitlines()[1] == "3"


def test_a_service_that_does_not_answer_is_said_to_be_unavailable() -> None:
    with httpx.Client(base_url="http://127.0.0.1:9") as http, pytest.raises(UnavailableError, match="answer"):
        ConsentClient(http, "token").service_key()


def test_an_answer_in_another_form_is_not_trusted() -> None:
    answers = iter([httpx.Response(502, text="<html>"), httpx.Response(200, text="{}")])
    with httpx.Client(transport=httpx.MockTransport(lambda _: next(answers)), base_url="http://x") as http:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="not its own"):
                ConsentClient(http, "token").service_key()
