"""The log's side of witnessing: heads are published with their quorum or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from small_log import KEY, ORIGIN
from witness_town import LOG_VKEY, Town

from consent.contract import SigningKey
from consent.errors import LogInconsistentError, QuorumError, SetupError
from consent.log.note import (
    COSIGNATURE,
    Note,
    SignatureLine,
    VerifierKey,
    parse_keys,
    verifier_key,
)
from consent.log.publisher import Publisher
from consent.log.remote import FolderSource
from consent.log.store import append, create_head
from consent.log.verify import Trust, verify_log
from consent.log.witnessing import Witnessing, read_witnesses
from consent.service import initialise as initialise_service
from consent.service import setup
from consent.settings import ConsentSettings, WitnessSetting
from consent.store import Database


class Log:
    """A log whose publisher shows its heads to witnesses."""

    def __init__(self, folder: Path, town: Town, quorum: int) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder / "log"
        self.database = Database.connect(f"sqlite:///{folder / 'log.db'}")
        self.database.migrate()
        with self.database.writing() as session:
            create_head(session)
        self.witnessing = town.witnessing(self.folder, quorum)
        self.publisher = Publisher(
            database=self.database, folder=self.folder, origin=ORIGIN, key=KEY, seal=self.witnessing.seal
        )

    def grow(self, count: int) -> None:
        with self.database.writing() as session:
            append(session, [{"number": number} for number in range(count)])
        self.publisher.publish()

    def note(self) -> Note:
        return Note.parse((self.folder / "checkpoint").read_text())


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path, 3)
    yield town
    for transport in town.transports:
        transport.close()


@pytest.fixture
def log(tmp_path: Path, town: Town) -> Iterator[Log]:
    log = Log(tmp_path / "service", town, quorum=2)
    log.publisher.start()
    yield log
    log.database.close()


def test_published_heads_carry_their_cosignatures(log: Log, town: Town) -> None:
    for count in (1, 254, 1, 300):
        log.grow(count)
        assert len(log.note().signers([address.key for address in town.addresses])) == 3
    report = verify_log(FolderSource(log.folder), trust=town.policy("all"))
    assert (report.findings, len(report.witnesses)) == ([], 3)
    assert town.refusals == []


def test_a_head_without_quorum_stays_unpublished_and_the_old_one_stays_whole(log: Log, town: Town) -> None:
    log.grow(250)
    town.down = {"w0.example", "w2.example"}
    for _ in range(2):
        with pytest.raises(QuorumError, match="1 of 3"):
            log.grow(10)
        assert log.note().checkpoint.size == 250
        report = verify_log(FolderSource(log.folder), trust=town.policy("2"))
        assert (report.findings, report.openings) == ([], 250)
    town.down = {"w1.example"}
    log.grow(1)
    assert (log.note().checkpoint.size, len(log.note().lines)) == (271, 3)
    assert verify_log(FolderSource(log.folder), trust=town.policy("2")).findings == []
    assert not verify_log(FolderSource(log.folder), trust=town.policy("all")).verified


def test_a_witness_that_lags_is_given_the_proof_that_it_needs(log: Log, town: Town) -> None:
    log.grow(3)
    town.down = {"w2.example"}
    log.grow(300)
    log.grow(7)
    town.down = set()
    log.grow(1)
    assert len(log.note().signers([address.key for address in town.addresses])) == 3


def test_without_a_quorum_heads_are_published_with_what_there_is(tmp_path: Path, town: Town) -> None:
    log = Log(tmp_path / "free", town, quorum=0)
    town.down = {address.key.name for address in town.addresses}
    log.publisher.start()
    log.grow(5)
    assert (log.note().checkpoint.size, len(log.note().lines)) == (5, 1)
    assert {name for name, _ in town.refusals} == town.down
    log.database.close()


def test_row_02_a_log_restored_from_an_old_copy_is_stopped_by_its_witnesses(
    tmp_path: Path, log: Log, town: Town
) -> None:
    log.grow(10)
    log.database.close()
    shutil.copytree(tmp_path / "service", tmp_path / "backup")
    newer = Log(tmp_path / "service", town, quorum=2)
    newer.grow(5)
    newer.database.close()
    restored = Log(tmp_path / "backup", town, quorum=2)
    restored.publisher.start()
    with pytest.raises(LogInconsistentError, match="old copy"):
        restored.witnessing.confirm((restored.folder / "checkpoint").read_text())
    with pytest.raises(LogInconsistentError):
        restored.grow(2)
    assert restored.note().checkpoint.size == 10
    restored.database.close()


def test_row_03_a_forked_log_is_stopped_by_its_witnesses(tmp_path: Path, log: Log, town: Town) -> None:
    log.grow(10)
    fork = Log(tmp_path / "fork", town, quorum=0)
    fork.publisher.folder.mkdir(parents=True)
    with pytest.raises(LogInconsistentError):
        fork.grow(12)
    assert not (fork.folder / "checkpoint").exists()
    fork.database.close()


def _line(name: str, key: VerifierKey) -> str:
    return SignatureLine(name, key.key_id, bytes(72)).encode()


def test_row_06_forged_cosignatures_are_not_published(log: Log, town: Town) -> None:
    forger = town.addresses[0].key
    town.answers["w0.example"] = lambda _: httpx.Response(200, text=_line(forger.name, forger))
    other = verifier_key("x.example", SigningKey.generate(), COSIGNATURE)
    honest = town.answers["w1.example"]
    town.answers["w1.example"] = lambda request: httpx.Response(
        200, text=_line("x.example", other) + honest(request).text
    )
    log.grow(3)
    assert [line.name for line in log.note().lines] == [ORIGIN, "w1.example", "w2.example"]
    assert [name for name, _ in town.refusals] == ["w0.example"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"location": "http://elsewhere.example/"}),
        httpx.Response(200, text=""),
        httpx.Response(200, content=b"\xff"),
        httpx.Response(200, content=bytes(100_000)),
        httpx.Response(409, text="many\n", headers={"content-type": "text/x.tlog.size"}),
        httpx.Response(403),
    ],
)
def test_a_witness_that_answers_nonsense_is_left_out(log: Log, town: Town, answer: httpx.Response) -> None:
    town.answers["w0.example"] = lambda _: answer
    log.grow(3)
    assert len(log.note().lines) == 3
    assert [name for name, _ in town.refusals] == ["w0.example"]


def test_settings_name_witnesses_by_their_own_kind_of_key(town: Town) -> None:
    first = town.addresses[0].key.encode()
    assert read_witnesses([("http://w0.example", first)], quorum=1)[0].key == town.addresses[0].key
    for addresses, quorum in (
        ([("http://w", first)], 2),
        ([("http://w", first), ("http://x", first)], 1),
        ([("http://w", LOG_VKEY.encode())], 1),
        ([("http://w", "nonsense")], 1),
    ):
        with pytest.raises(SetupError):
            read_witnesses(addresses, quorum=quorum)


def test_a_head_gets_its_mldsa_line_when_the_setting_is_turned_on(tmp_path: Path) -> None:
    settings = ConsentSettings(data_dir=tmp_path / "first", log_origin=ORIGIN, publish_interval=0)
    initialise_service(settings)
    assert len(parse_keys((settings.log_dir / "vkey").read_text())) == 1
    initialise_service(settings.model_copy(update={"log_mldsa": True}))
    keys = parse_keys((settings.log_dir / "vkey").read_text())
    assert len(keys) == 2
    assert set(Note.parse((settings.log_dir / "checkpoint").read_text()).signers(keys)) == set(keys)
    assert verify_log(FolderSource(settings.log_dir), trust=Trust(keys=keys)).verified


def test_a_service_starts_without_its_witnesses_and_not_against_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ConsentSettings(data_dir=tmp_path / "first", log_origin=ORIGIN, log_mldsa=True, publish_interval=0)
    initialise_service(settings)
    ed25519, mldsa = parse_keys((settings.log_dir / "vkey").read_text())
    town = Town(tmp_path, 2, ed25519)
    monkeypatch.setattr(
        setup, "Witnessing", lambda *args, **named: Witnessing(*args, **{**named, "http": town.http})
    )
    shutil.copytree(settings.data_dir, tmp_path / "old")
    witnesses = tuple(WitnessSetting(url=one.url, vkey=one.key.encode()) for one in town.addresses)
    settings = settings.model_copy(update={"witnesses": witnesses, "witness_quorum": 2})

    def head() -> Note:
        return Note.parse((settings.log_dir / "checkpoint").read_text())

    with closing(setup.open_workplace(settings)) as work, work.writing() as unit:
        unit.log("test", {})
    keys = [ed25519, mldsa, *(one.key for one in town.addresses)]
    assert (head().checkpoint.size, set(head().signers(keys))) == (2, set(keys))
    town.down = {"w0.example"}
    with closing(setup.open_workplace(settings)) as work:
        with work.writing() as unit:
            unit.log("test", {})
        assert (work.healthy, head().checkpoint.size) == (False, 2)
    with closing(setup.open_workplace(settings)) as work:
        assert not work.healthy
        town.down = set()
        work.publish_now()
        assert (work.healthy, head().checkpoint.size) == (True, 3)
    with pytest.raises(LogInconsistentError, match="old copy"):
        setup.open_workplace(settings.model_copy(update={"data_dir": tmp_path / "old"}))
