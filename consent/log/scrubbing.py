"""Taking erased bytes out of files: what was committed as erased is rewritten, also after a crash between.

An erasure notes in its own transaction which places still hold what it took away. A place is struck off once
it was rewritten, unless another erasure asked for it meanwhile.
"""

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from consent.log.openings import SEGMENT_ENTRIES, OpeningsFolder, segment_start
from consent.log.store import entries, read_head
from consent.store.database import SCRUB_AT_ONCE_BYTES, Database
from consent.store.schema import ScrubRow

DATABASE = "database"


def request_scrub(session: Session, places: Iterable[str]) -> None:
    """Note places that hold bytes which this transaction takes away; under the lock of the log."""
    for place in sorted(places):
        row = session.get(ScrubRow, place)
        if row is None:
            session.add(ScrubRow(place=place, requests=1))
        else:
            row.requests += 1
    session.flush()


def is_pending(session: Session) -> bool:
    """Tell whether any place still holds erased bytes."""
    return session.scalar(select(ScrubRow.place).limit(1)) is not None


def scrub_openings(database: Database, folder: OpeningsFolder, size: int) -> None:
    """Write the noted segments of published openings again, up to the published size."""
    with database.reading() as session:
        places = session.scalars(select(ScrubRow.place).where(ScrubRow.place != DATABASE)).all()
    for place in places:
        with database.writing() as session:
            read_head(session, lock=True)
            start = segment_start(place)
            kept = [stored.opening for stored in entries(session, start, min(start + SEGMENT_ENTRIES, size))]
            folder.rewrite(place, kept)
            session.execute(delete(ScrubRow).where(ScrubRow.place == place))


def scrub_database(database: Database, *, limit: int | None = SCRUB_AT_ONCE_BYTES) -> bool:
    """Rewrite the database where that is noted and it is small enough to do at once; tell whether it is clean."""
    with database.reading() as session:
        requests = session.scalar(select(ScrubRow.requests).where(ScrubRow.place == DATABASE))
    if requests is None:
        return True
    if not database.scrub(limit=limit):
        return False
    with database.writing() as session:
        session.execute(delete(ScrubRow).where(ScrubRow.place == DATABASE, ScrubRow.requests == requests))
    return True
