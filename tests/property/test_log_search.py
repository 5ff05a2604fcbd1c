"""Searching a log gives what a filter over all of it gives, whatever the order of times and what was erased."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from depth import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.log.payloads import Subject
from consent.searching import LogPage, LogQuery
from consent.service import create_app, initialise
from consent.service import search as searching
from consent.service.erasure import erase
from consent.service.search import search
from consent.service.timeline import DISORDER, stretch
from consent.service.work import Caller, Workplace
from consent.settings import ConsentSettings
from consent.wire import Role, SubjectRequest

START = datetime(2026, 11, 2, tzinfo=UTC)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
OFFICER = Caller(id=9, role=Role.OFFICER, name="officer", public_key=None)
SUBJECTS = tuple(secrets.token_hex(32) for _ in range(3))
KINDS = ("first_kind", "second_kind")
STEPS = (-int(DISORDER.total_seconds()), -1, 0, 1, 59, 61, 10_000)
"""Seconds between an entry and the latest one before it."""


class Written(NamedTuple):
    """An entry as the filter sees it."""

    index: int
    kind: str
    at: datetime
    subject: int | None


@contextmanager
def service() -> Iterator[Workplace]:
    with TemporaryDirectory() as folder:
        settings = ConsentSettings(data_dir=Path(folder) / "consent", publish_interval=0)
        initialise(settings, clock=lambda: START)
        work: Workplace = create_app(settings, clock=lambda: START).state.workplace
        yield work
        work.database.close()


def write(work: Workplace, drawn: list[tuple[int, str, int | None]]) -> list[Written]:
    """Append entries; return all that the log holds."""
    written, latest = [Written(0, "principal_enrolled", START, None)], START
    with work.database.writing() as session:
        unit = work._unit(session)
        for step, kind, number in drawn:
            unit.now = latest + timedelta(seconds=step)
            latest = max(latest, unit.now)
            subject = None if number is None else Subject("acme", SUBJECTS[number])
            index = unit.log(kind, {"number": number or 0}, subject=subject)
            written.append(Written(index, kind, unit.now, number))
    return written


def forget(work: Workplace, written: list[Written], gone: set[int]) -> list[Written]:
    """Erase customers; return what is left, with the entries that say so."""
    latest = max(one.at for one in written)
    left = [one for one in written if one.subject not in gone]
    with work.database.writing() as session:
        unit = work._unit(session)
        unit.now = latest
        done = [erase(unit, SubjectRequest(brand="acme", subject=SUBJECTS[number])) for number in gone]
    return left + [
        Written(one.log_index, "subject_erased", latest, None) for one in done if one.log_index is not None
    ]


def pages(work: Workplace, query: LogQuery) -> list[LogPage]:
    found: list[LogPage] = []
    while not found or not found[-1].complete:
        cursor = found[-1].cursor if found else None
        with work.database.writing() as session:
            found.append(search(work._unit(session), OFFICER, query.model_copy(update={"cursor": cursor})))
        assert found[-1].complete == (found[-1].cursor is None)
        assert len(found[-1].entries) <= query.limit
    return found


TIMES = st.none() | st.tuples(st.integers(0, 40), st.sampled_from((-61, -60, -1, 0, 1, 60, 61)))
"""Seconds after an entry, which is told by a number."""


def time_of(wanted: tuple[int, int] | None, written: list[Written]) -> datetime | None:
    return wanted and written[wanted[0] % len(written)].at + timedelta(seconds=wanted[1])


@given(
    drawn=st.lists(
        st.tuples(st.sampled_from(STEPS), st.sampled_from(KINDS), st.none() | st.integers(0, 2)), max_size=30
    ),
    gone=st.sets(st.integers(0, 2)),
    kind=st.none() | st.sampled_from(KINDS),
    since=TIMES,
    until=TIMES,
    limit=st.integers(1, 4),
)
@settings(max_examples=examples(20, 40), deadline=None)
def test_all_pages_together_are_what_a_filter_gives(
    drawn: list[tuple[int, str, int | None]],
    gone: set[int],
    kind: str | None,
    since: tuple[int, int] | None,
    until: tuple[int, int] | None,
    limit: int,
) -> None:
    with service() as work, pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "CANDIDATES", 3)
        written = write(work, drawn)
        first, last = time_of(since, written), time_of(until, written)
        left = forget(work, written, gone)
        wanted = [
            one.index
            for one in left
            if (kind is None or one.kind == kind)
            and (first is None or one.at >= first)
            and (last is None or one.at < last)
        ]
        found = pages(work, LogQuery(kind=kind, since=first, until=last, limit=limit))
    assert [hit.log_index for page in found for hit in page.entries] == wanted


def test_a_page_may_hold_nothing_and_not_be_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "CANDIDATES", 3)
    with service() as work:
        write(work, [(1, KINDS[0], None)] * 9 + [(1, KINDS[1], None)])
        found = pages(work, LogQuery(kind=KINDS[1]))
    assert [len(page.entries) for page in found] == [0, 0, 0, 1]
    assert [page.complete for page in found] == [False, False, False, True]


def test_a_narrow_time_is_found_without_walking_the_log() -> None:
    """What comes after it is of a customer who was erased, so that those entries bear no time any more."""
    ann, noon = Subject("acme", SUBJECTS[0]), START + timedelta(days=1)
    many = [{"number": number} for number in range(searching.CANDIDATES)]
    with service() as work:
        with work.database.writing() as session:
            unit = work._unit(session)
            unit.log_all(KINDS[0], many)
            unit.now = noon
            index = unit.log(KINDS[1], {})
            unit.now = noon + timedelta(days=1)
            unit.log_all(KINDS[0], many, subjects=[ann] * len(many))
            erase(unit, SubjectRequest(brand=ann.brand, subject=ann.pseudonym))
        (page,) = pages(work, LogQuery(since=noon, until=noon + timedelta(seconds=1)))
        with work.reading() as unit:
            part = stretch(unit, range(unit.log_size()), since=noon, until=noon + timedelta(seconds=1))
    assert [hit.log_index for hit in page.entries] == [index]
    assert part == range(index, index + 1)


@pytest.mark.parametrize(("since", "until", "found"), [(FIRST, LAST, 1), (LAST, None, 0), (None, FIRST, 0)])
def test_the_ends_of_all_time_are_times_too(since: datetime | None, until: datetime | None, found: int) -> None:
    with service() as work:
        assert [len(page.entries) for page in pages(work, LogQuery(since=since, until=until))] == [found]
