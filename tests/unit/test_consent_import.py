"""Files of choices: what is read and refused row by row, that each part counts once, and what a bomb meets."""

import hashlib
import json
from collections.abc import Callable
from contextlib import closing, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from consent.bulk_import import CSV, NDJSON
from consent.bulk_import.lines import MAX_LINE_BYTES
from consent.bulk_import.reading import open_reader
from consent.bulk_import.verdicts import Refusal, Summary, read_answer
from consent.commands import consent
from consent.contract import Act, DecisionQuery
from consent.errors import TooLargeError, UnavailableError, UnsupportedMediaError
from consent.service import imports
from consent.service.erasure import erase
from consent.service.principals import authenticate
from consent.store.schema import ChoiceRow
from consent.wire import SubjectRequest

PURPOSE = "conversion"


def subject(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


class Files:
    """A world with a brand that sends files."""

    def __init__(self, world: Any) -> None:
        self.world = world
        world.brand("acme")

    def row(self, number: int, act: str = "grant", **fields: Any) -> dict[str, Any]:
        notice = {"notice": self.world.notices[PURPOSE]} if act == "grant" else {}
        return {"subject": subject(number), "act": act, "purpose": PURPOSE, **notice, **fields}

    def ndjson(self, *rows: dict[str, Any] | str) -> bytes:
        lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
        return "".join(f"{line}\n" for line in lines).encode()

    def send(self, body: bytes, *, name: str = "file", kind: str = NDJSON, **params: Any) -> httpx.Response:
        headers = {
            "Authorization": f"Bearer {self.world.tokens['acme']}",
            "Idempotency-Key": name,
            "Content-Type": kind,
        }
        response: httpx.Response = self.world.http.post(
            "/v1/imports", content=body, headers=headers, params=params
        )
        return response

    def verdicts(self, body: bytes, **options: Any) -> list[str]:
        """Send a file and return each row's code, `ok` where there is none, without the summary."""
        response = self.send(body, **options)
        assert response.status_code == 200, response.text
        *rows, summary = map(json.loads, response.text.splitlines())
        assert summary["rows"] == len(rows)
        assert summary["refused"] == sum(row["verdict"] == "refused" for row in rows)
        return [row.get("code", "ok") for row in rows]

    def allowed(self, *numbers: int) -> list[bool]:
        queries = [DecisionQuery(brand="acme", subject=subject(one), purpose=PURPOSE) for one in numbers]
        return [answer.allowed for answer in self.world.brand("acme").decide(queries)]

    def begin(self, name: str = "file") -> imports.Import:
        """Begin a file without a request around it."""
        work = self.world.app.state.workplace
        caller = authenticate(work.database, self.world.tokens["acme"], self.world.clock.now)
        return imports.Import(work, caller, name, open_reader(NDJSON, "acme"), dry_run=False)

    def log_size(self) -> int:
        return int(self.world.coordinator.checkpoint().splitlines()[1])


@pytest.fixture
def files(consent_world: Any) -> Files:
    return Files(consent_world)


@pytest.fixture
def store_files(consent_worlds: Callable[..., Any], database_url: str) -> Files:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    return Files(world)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(imports, "PART_ROWS", 3)
    return 3


def test_rows_are_recorded_with_where_they_come_from(store_files: Files) -> None:
    files = store_files
    body = files.ndjson(files.row(0, collection_point="till", claimed_at="2025-01-02T03:04:05Z"))
    assert files.verdicts(body) == ["ok"]
    assert files.allowed(0, 1) == [True, False]
    with files.world.app.state.workplace.reading() as unit:
        row = unit.session.scalars(select(ChoiceRow)).one()
    assert (row.method, row.collection_point) == ("import", "till")
    assert row.claimed_at is not None
    assert (row.claimed_at.year, row.recorded_at) == (2025, files.world.clock.now)


def test_a_file_that_comes_again_changes_nothing(store_files: Files, small_parts: int) -> None:
    files = store_files
    body = files.ndjson(*(files.row(number) for number in range(2 * small_parts + 1)))
    first = files.send(body)
    size = files.log_size()
    files.world.record("acme", Act.WITHDRAW, subject(0))
    assert files.send(body).content == first.content
    assert files.log_size() == size + 1
    assert files.allowed(0, 1) == [False, True]


def test_a_file_that_stopped_half_way_goes_on_behind_what_is_recorded(files: Files, small_parts: int) -> None:
    rows = [files.row(number) for number in range(3 * small_parts)]
    with closing(files.begin()) as stopped:
        stopped.feed(files.ndjson(*rows[: small_parts + 1]))
    assert files.allowed(0, small_parts) == [True, False]
    before = files.log_size()
    assert files.verdicts(files.ndjson(*rows)) == ["ok"] * len(rows)
    assert files.log_size() == before + 2 * small_parts
    assert all(files.allowed(*range(len(rows))))


def test_another_file_under_the_same_name_is_refused(files: Files, small_parts: int) -> None:
    good = files.ndjson(*(files.row(number) for number in range(small_parts)))
    assert files.verdicts(good) == ["ok"] * small_parts
    other = files.ndjson(*(files.row(number + 1) for number in range(small_parts)))
    assert files.verdicts(other) == ["conflict"] * small_parts
    assert files.allowed(small_parts) == [False]


def test_a_dry_run_says_the_same_and_records_nothing(files: Files) -> None:
    body = files.ndjson(files.row(0), files.row(1, purpose="undeclared"), "{}")
    before = files.log_size()
    dry = files.verdicts(body, dry_run=True)
    assert files.log_size() == before
    assert files.allowed(0) == [False]
    assert files.verdicts(body) == dry == ["ok", "unknown_purpose", "bad_value"]


def test_broken_rows_never_stop_good_ones(files: Files) -> None:
    body = files.ndjson("not json", files.row(0), "{", files.row(1), "[]", files.row(2, notice="0" * 64))
    assert files.verdicts(body) == ["bad_json", "ok", "bad_json", "ok", "bad_json", "unknown_notice"]
    assert files.allowed(0, 1, 2) == [True, True, False]


def test_an_imported_grant_never_undoes_a_withdrawal(files: Files) -> None:
    files.world.record("acme", Act.WITHDRAW, subject(0))
    files.world.clock.advance(60)
    rows = (files.row(0), files.row(1, "withdraw"), files.row(1), files.row(2), files.row(2, "withdraw"))
    assert files.verdicts(files.ndjson(*rows)) == ["withdrawn", "ok", "withdrawn", "ok", "ok"]
    assert files.allowed(0, 1, 2) == [False, False, False]


def test_after_an_erasure_a_file_does_not_bring_the_customer_back(files: Files) -> None:
    body = files.ndjson(files.row(0), files.row(1))
    assert files.verdicts(body) == ["ok", "ok"]
    with files.world.app.state.workplace.writing() as unit:
        erase(unit, SubjectRequest(brand="acme", subject=subject(0)))
    assert files.verdicts(body) == ["conflict", "conflict"]
    assert files.allowed(0) == [False]


def csv_of(files: Files, *lines: str) -> bytes:
    return "\n".join(("subject,act,purpose,notice", *lines, "")).encode()


def csv_row(files: Files, number: int) -> str:
    return f"{subject(number)},grant,{PURPOSE},{files.world.notices[PURPOSE]}"


def test_a_table_is_read_as_a_file_of_objects_is(files: Files) -> None:
    quoted = f'"{subject(1)}","grant","{PURPOSE}","{files.world.notices[PURPOSE]}"'
    body = b"\xef\xbb\xbf" + csv_of(files, csv_row(files, 0), quoted, "").replace(b"\n", b"\r\n")
    assert files.verdicts(body, kind=f"{CSV}; charset=UTF-8") == ["ok", "ok"]
    assert files.allowed(0, 1) == [True, True]


def test_text_with_line_breaks_never_becomes_rows_of_its_own(files: Files) -> None:
    smuggled = f'"typed by somebody\n{csv_row(files, 0)}\n",grant,{PURPOSE},'
    body = csv_of(files, smuggled, csv_row(files, 1), f'"{csv_row(files, 2)}', csv_row(files, 3))
    response = files.send(body, kind=CSV)
    *rows, _ = map(json.loads, response.text.splitlines())
    assert [(row["row"], row.get("code")) for row in rows] == [(2, "bad_csv"), (5, None), (6, "bad_csv")]
    assert files.allowed(0, 1, 2, 3) == [False, True, False, False]


@pytest.mark.parametrize(
    "header",
    ["", "subject", "subject,act,subject", "subject,act,brand", "subject,act,method", 'subject,"act', "a,b"],
)
def test_a_table_that_does_not_name_its_columns_is_refused_whole(files: Files, header: str) -> None:
    response = files.send(f"{header}\n{csv_row(files, 0)}\n".encode(), kind=CSV)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_attack_19_formulas_and_injections_are_refused_and_never_repeated(files: Files) -> None:
    attacks = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "'; DROP TABLE choices; --", "{{7*7}}", "../../etc/passwd")
    lines = [f'"{attack}",grant,{PURPOSE},' for attack in attacks]
    lines += [f'{subject(0)},grant,{PURPOSE},"{attack}"' for attack in attacks]
    objects = [files.row(0, collection_point=attack) for attack in attacks]
    objects += [{**files.row(0), attack: "x"} for attack in attacks if "{" not in attack]
    tables, texts = files.send(csv_of(files, *lines), kind=CSV), files.send(files.ndjson(*objects), name="texts")
    for response, rows in ((tables, lines), (texts, objects)):
        *verdicts, _ = map(json.loads, response.text.splitlines())
        assert len(verdicts) == len(rows)
        assert all(verdict["verdict"] == "refused" for verdict in verdicts)
        assert not any(attack in response.text for attack in attacks if len(attack) > 2)
    assert files.allowed(0) == [False]


BOMBS: dict[str, tuple[bytes, str]] = {
    "a line without an end": (b'{"subject": "' + b"a" * (4 * MAX_LINE_BYTES) + b'"}', Refusal.TOO_LONG),
    "lists in lists": (b"[" * (MAX_LINE_BYTES - 1), Refusal.NESTED),
    "objects in objects": (b'{"a":' * 3_000, Refusal.NESTED),
    "a field twice": (b'{"subject": "a", "subject": "b"}', Refusal.DUPLICATE_FIELD),
    "a field twice, once escaped": (b'{"subject": "a", "s\\u0075bject": "b"}', Refusal.DUPLICATE_FIELD),
    "a number with ten thousand digits": (b'{"subject": ' + b"9" * 10_000 + b"}", Refusal.BAD_JSON),
    "a number for a name": (b'{"subject": 7}', Refusal.BAD_VALUE),
    "a field that there is not": (b'{"password": "x"}', Refusal.UNKNOWN_FIELD),
    "another brand": (b'{"brand": "bolt"}', Refusal.UNKNOWN_FIELD),
    "Latin-1": ('{"subject": "\u00e9"}'.encode("latin-1"), Refusal.BAD_ENCODING),
    "UTF-16": ('{"subject": "a"}'.encode("utf-16-le"), Refusal.BAD_ENCODING),
    "a NUL": (b'{"subject": "a\0"}', Refusal.BAD_ENCODING),
    "an escaped NUL": (b'{"subject": "a\\u0000"}', Refusal.BAD_VALUE),
    "a lone surrogate": (b'{"subject": "\\ud800"}', Refusal.BAD_VALUE),
    "not a number": (b'{"subject": NaN}', Refusal.BAD_VALUE),
}


@pytest.mark.parametrize(("bomb", "code"), BOMBS.values(), ids=BOMBS)
def test_attack_20_a_bomb_is_one_refused_row(files: Files, bomb: bytes, code: str) -> None:
    good = files.ndjson(files.row(0))
    assert files.verdicts(good + bomb + b"\n" + good.replace(*replaced(0, 1))) == ["ok", code, "ok"]
    assert files.allowed(0, 1) == [True, True]


def replaced(old: int, new: int) -> tuple[bytes, bytes]:
    return subject(old).encode(), subject(new).encode()


def test_attack_20_too_many_columns_are_one_refused_row(files: Files) -> None:
    body = csv_of(files, "," * 10_000, csv_row(files, 0), "a" * (2 * MAX_LINE_BYTES), csv_row(files, 1))
    assert files.verdicts(body, kind=CSV) == ["bad_csv", "ok", "too_long", "ok"]


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [(NDJSON, "gzip"), (NDJSON, "deflate, br"), ("application/zip", "identity"), (f"{CSV}; charset=utf-16", "")],
)
def test_attack_20_what_is_compressed_or_of_another_type_is_not_read(
    files: Files, kind: str, encoding: str
) -> None:
    headers = {
        "Authorization": f"Bearer {files.world.tokens['acme']}",
        "Idempotency-Key": "file",
        "Content-Type": kind,
        **({"Content-Encoding": encoding} if encoding else {}),
    }
    response = files.world.http.post("/v1/imports", content=b"\x1f\x8b" + bytes(100), headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media")


def test_attack_20_a_file_over_the_cap_is_refused_where_it_passes_it(consent_worlds: Callable[..., Any]) -> None:
    world = consent_worlds(max_import_bytes=2_000)
    world.declare(PURPOSE)
    files = Files(world)
    response = files.send(files.ndjson(*(files.row(number) for number in range(20))))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    assert files.allowed(0) == [False]


def test_attack_20_ten_million_rows_are_too_many(
    files: Files, small_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MAX_ROWS", 2 * small_parts)
    with closing(files.begin()) as coming, pytest.raises(TooLargeError):
        coming.feed(b"x\n" * (2 * small_parts + 1))


def test_nothing_of_a_file_is_held_beyond_one_part() -> None:
    reader = open_reader(NDJSON, "acme")
    held = [len(row.raw) for _ in range(64) for row in reader.feed(b"a" * MAX_LINE_BYTES)]
    assert held == []
    assert [row.refusal for row in reader.finish()] == [Refusal.TOO_LONG]


def test_a_line_is_the_same_in_whatever_pieces_it_comes(files: Files) -> None:
    body = files.ndjson(files.row(0), "x" * (MAX_LINE_BYTES + 1), files.row(1))
    whole = list(open_reader(NDJSON, "acme").feed(body))
    for size in (1, 7, 4_096, MAX_LINE_BYTES):
        reader = open_reader(NDJSON, "acme")
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert [row for piece in pieces for row in reader.feed(piece)] == whole


def test_a_client_is_told_of_every_row_and_of_the_file_as_a_whole(files: Files) -> None:
    body = BytesIO(files.ndjson(files.row(0), "{"))
    answer = files.world.brand("acme").import_file(body, name="file", media_type=NDJSON)
    *verdicts, summary = answer
    assert [(verdict.row, verdict.code) for verdict in verdicts] == [(1, None), (2, "bad_json")]
    assert summary == Summary(rows=2, recorded=1, refused=1, dry_run=False)
    with pytest.raises(UnsupportedMediaError):
        list(files.world.brand("acme").import_file(BytesIO(b""), name="file", media_type="text/plain"))


def test_an_answer_that_breaks_off_is_none(files: Files) -> None:
    whole = files.send(files.ndjson(files.row(0))).text.splitlines()
    with pytest.raises(UnavailableError):
        list(read_answer(whole[:-1]))


def test_the_command_sends_a_file_and_says_how_many_rows_were_refused(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpx, "Client", lambda **_: nullcontext(files.world.http))
    (tmp_path / "token").write_text(files.world.tokens["acme"] + "\n")
    (tmp_path / "choices").write_bytes(csv_of(files, csv_row(files, 0), "x,grant,,"))
    options = [
        "--url",
        "http://consent",
        "--token-file",
        str(tmp_path / "token"),
        "--name",
        "file",
        "--kind",
        "csv",
    ]
    command = ["import", str(tmp_path / "choices"), *options, "--verdicts", str(tmp_path / "verdicts")]
    result = CliRunner().invoke(consent, command)
    assert (result.exit_code, result.stdout) == (1, "1 of 2 rows are recorded, 1 are refused.\n")
    written = map(json.loads, (tmp_path / "verdicts").read_text().splitlines())
    assert [one["verdict"] for one in written] == ["ok", "refused"]
    assert files.allowed(0) == [True]
