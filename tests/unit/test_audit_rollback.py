"""An old backup of database and published log together does not start: witnesses saw more."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from small_log import ORIGIN
from witness_town import Town

from consent.contract import SigningKey
from consent.errors import LogInconsistentError, SetupError
from consent.log.note import COSIGNATURE, Note, parse_keys, sign_checkpoint, verifier_key
from consent.log.witnessed import WITNESSED, WitnessedSizes
from consent.log.witnessing import Witnessing
from consent.service import initialise, setup
from consent.settings import ConsentSettings, WitnessSetting

BOTH = {"w0.example", "w1.example"}


class Place:
    """A service with two witnesses, whose files are backed up and restored."""

    def __init__(self, folder: Path, town: Town, settings: ConsentSettings) -> None:
        self.town = town
        self.settings = settings
        self._copy = folder / "backup"

    def grow(self, count: int = 1) -> None:
        with closing(setup.open_workplace(self.settings)) as work, work.writing() as unit:
            unit.log_all("test", [{}] * count)

    def start(self, *, quorum: int | None = None) -> None:
        changed = {} if quorum is None else {"witness_quorum": quorum}
        setup.open_workplace(self.settings.model_copy(update=changed)).close()

    def back_up(self) -> None:
        shutil.copytree(self.settings.data_dir, self._copy)

    def restore(self, *, with_record: bool) -> None:
        """Put database and published log back as they were; all of the folder with the record of witnesses."""
        record = self.settings.data_dir / WITNESSED
        newest = record.read_bytes()
        shutil.rmtree(self.settings.data_dir)
        shutil.copytree(self._copy, self.settings.data_dir)
        if not with_record:
            record.write_bytes(newest)

    def size(self) -> int:
        return Note.parse((self.settings.log_dir / "checkpoint").read_text()).checkpoint.size


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    settings = ConsentSettings(data_dir=tmp_path / "consent", log_origin=ORIGIN, publish_interval=0)
    initialise(settings)
    (vkey,) = parse_keys((settings.log_dir / "vkey").read_text())
    town = Town(tmp_path, 2, vkey)
    monkeypatch.setattr(
        setup, "Witnessing", lambda *args, **named: Witnessing(*args, **{**named, "http": town.http})
    )
    witnesses = tuple(WitnessSetting(url=one.url, vkey=one.key.encode()) for one in town.addresses)
    place = Place(tmp_path, town, settings.model_copy(update={"witnesses": witnesses, "witness_quorum": 1}))
    place.grow()
    place.back_up()
    place.grow(3)
    yield place
    for transport in town.transports:
        transport.close()


def test_the_record_says_what_each_witness_cosigned(place: Place) -> None:
    record = WitnessedSizes(place.settings.data_dir / WITNESSED)
    assert {record.of(one.key) for one in place.town.addresses} == {place.size()}
    place.town.down = {"w1.example"}
    place.grow()
    record = WitnessedSizes(place.settings.data_dir / WITNESSED)
    assert [record.of(one.key) for one in place.town.addresses] == [place.size(), place.size() - 1]


@pytest.mark.parametrize("quorum", [0, 1])
def test_an_old_backup_does_not_start_while_no_witness_answers(place: Place, quorum: int) -> None:
    place.restore(with_record=False)
    place.town.down = BOTH
    with pytest.raises(LogInconsistentError, match=r"cosigned 5 entries .* holds 2: it is an old copy"):
        place.start(quorum=quorum)
    assert place.size() == 2


@pytest.mark.parametrize("quorum", [0, 1])
def test_an_old_backup_of_the_whole_folder_does_not_start_where_one_witness_answers(
    place: Place, quorum: int
) -> None:
    place.restore(with_record=True)
    place.town.down = {"w0.example"}
    with pytest.raises(LogInconsistentError, match=r"w1\.example cosigned 5 entries"):
        place.start(quorum=quorum)
    place.town.down = BOTH
    with pytest.raises(LogInconsistentError, match=r"w1\.example cosigned 5 entries"):
        place.start(quorum=quorum)


def test_witnesses_are_asked_before_anything_is_published(place: Place) -> None:
    place.restore(with_record=True)
    asked: list[tuple[str, str]] = []
    for name, answer in list(place.town.answers.items()):

        def remember(
            request: httpx.Request, answer: Callable[[httpx.Request], httpx.Response] = answer
        ) -> httpx.Response:
            asked.append((request.method, request.url.path))
            return answer(request)

        place.town.answers[name] = remember
    with pytest.raises(LogInconsistentError):
        place.start()
    assert asked == [("GET", f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint")] * 2


def test_the_newest_database_starts_and_a_witness_that_is_down_does_not_stop_it(place: Place) -> None:
    place.start()
    place.town.down = BOTH
    place.start()
    place.start(quorum=0)


def test_without_any_record_the_quorum_must_answer(place: Place) -> None:
    (place.settings.data_dir / WITNESSED).unlink()
    place.town.down = BOTH
    with pytest.raises(SetupError, match="0 of 2 witnesses"):
        place.start()
    place.start(quorum=0)
    place.town.down = {"w0.example"}
    place.start()
    (place.settings.data_dir / WITNESSED).write_text("[]")
    with pytest.raises(SetupError, match="damaged"):
        place.start()


def test_nobody_else_can_stop_the_start(place: Place) -> None:
    """An answer counts when the witness's own key cosigned a head of this log."""
    note = Note.parse((place.settings.log_dir / "checkpoint").read_text())
    longer = type(note.checkpoint)(ORIGIN, 100, bytes(32))
    forged = sign_checkpoint(longer, SigningKey.generate())
    mixed = Note(longer, note.lines).encode()
    for answer in (
        httpx.Response(200, text=forged),
        httpx.Response(200, text=mixed),
        httpx.Response(200, text="nonsense"),
        httpx.Response(302, headers={"location": "http://elsewhere.example/"}),
        httpx.Response(500),
        httpx.Response(404),
    ):
        place.town.answers["w0.example"] = lambda _, answer=answer: answer
        place.start(quorum=0)


def test_two_processes_never_lower_the_record(tmp_path: Path) -> None:
    witness = verifier_key("w.example", SigningKey.generate(), COSIGNATURE)
    first, second = WitnessedSizes(tmp_path / "sizes"), WitnessedSizes(tmp_path / "sizes")
    first.learn(witness, 9)
    first.save()
    second.learn(witness, 5)
    second.save()
    assert WitnessedSizes(tmp_path / "sizes").of(witness) == 9
