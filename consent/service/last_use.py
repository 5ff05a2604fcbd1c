"""On which day an API key was last used: written once a day, behind the request that used it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

from sqlalchemy import or_, update
from sqlalchemy.exc import SQLAlchemyError

from consent.errors import ConsentError
from consent.service.logbook import logbook
from consent.store import Database
from consent.store.callers import ApiKeyRow


class LastUse:
    """Notes days in a thread of its own; what a full disk keeps from being noted is tried again the next day."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[str, date] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="last-use")

    def note(self, key_id: str, day: date) -> None:
        """Have a day noted, and return at once."""
        if self._noted.get(key_id) != day:
            self._noted[key_id] = day
            self._thread.submit(self._write, key_id, day)

    def settle(self) -> None:
        """Return once what was noted so far is written."""
        self._thread.submit(bool).result()

    def close(self) -> None:
        """Write what is left to be noted."""
        self._thread.shutdown()

    def _write(self, key_id: str, day: date) -> None:
        earlier = or_(ApiKeyRow.last_used_on.is_(None), ApiKeyRow.last_used_on < day)
        try:
            with self._database.writing() as session:
                session.execute(
                    update(ApiKeyRow).where(ApiKeyRow.key_id == key_id, earlier).values(last_used_on=day)
                )
        except (ConsentError, SQLAlchemyError) as error:
            logbook().error("last_use_not_noted", fault=type(error).__name__)
