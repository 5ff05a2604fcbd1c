"""The database as the service uses it: short reads, and one writer transaction at a time on SQLite."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Self

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from consent.errors import SetupError
from consent.store.group import GroupCommit

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
WAL_PAGES = 25_000
"""Pages in the write-ahead log before they are copied into the database: the pages of the head and of the
newest entries are written by every append, and those of the indexes by many, and copied once."""
WRITERS_CACHE_KIB = 128 * 1024
"""Pages that the one writer keeps: customers come in no order, so any page of an index may be the next."""
SCRUB_AT_ONCE_BYTES = 256 * 1024 * 1024
NAMING_CUSTOMERS = (
    "subject_keys",
    "choices",
    "states",
    "idempotency_keys",
    "log_entries",
    "merges",
    "guardians",
    "confirmations",
    "signals",
    "rights_requests",
    "subject_tokens",
)
WRITES = {"sqlite_begin": "IMMEDIATE"}


class Database:
    """Sessions over SQLite or PostgreSQL.

    On SQLite a writer takes the write lock at BEGIN, so that it never has to upgrade a read. Writers of one
    process queue here rather than on the database's own locks, and share commits while they do.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        sqlite = engine.dialect.name == "sqlite"
        self._snapshots = engine if sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._kept: Connection | None = None
        self._writing = engine.execution_options(**WRITES)
        self.committed: Callable[[int], None] = lambda _: None
        """Told of each commit, and how many writers shared it."""
        self._writers = GroupCommit(
            connect=self._writer,
            give_back=self._after_writing,
            committed=self._tell_committed,
        )

    @classmethod
    def connect(cls, url: str) -> Self:
        """Open the database at `url`; driver parameters never reach an error text."""
        if make_url(url).get_backend_name() != "sqlite":
            return cls(create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=16))
        engine = create_engine(url, hide_parameters=True, pool_size=16, connect_args={"timeout": 30})
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return cls(engine)

    def migrate(self, *, vault: object = None) -> None:
        """Create or upgrade the schema.

        Args:
            vault: a `consent.log.payloads.Vault`, with which an older database's openings are sealed.

        Raises:
            SetupError: there is something to seal and no vault.
        """
        with self._writers.alone(), self._writing.begin() as connection:
            config = _alembic_config()
            config.attributes.update(connection=connection, vault=vault)
            command.upgrade(config, "head")

    def check_schema(self) -> None:
        """Refuse a database that is not at the schema of this code.

        Raises:
            SetupError: it was never initialised, or needs an upgrade.
        """
        head = ScriptDirectory.from_config(_alembic_config()).get_current_head()
        with self.engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        if found != head:
            raise SetupError(
                f"The consent database is at schema {found or 'none'}, this program needs {head}; "
                f"run `confide consent init`, which upgrades it and keeps what is there."
            )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of the database; nothing is committed."""
        with Session(self._snapshots, autoflush=False) as session:
            yield session

    @contextmanager
    def reading_plainly(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database, without a session around it."""
        with self._snapshots.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a session that is committed once at the end, or rolled back whole.

        Raises:
            UnavailableError: the commit that it shared with others failed; nothing was recorded.
        """
        with self._writers.writing() as session:
            yield session

    def writing_plainly(self) -> AbstractContextManager[Connection]:
        """Give a connection under the same terms as `writing`, without an object-relational session around it."""
        return self._writers.connected()

    def _tell_committed(self, members: int) -> None:
        self.committed(members)

    def _writer(self) -> Connection:
        """Return where to write: on SQLite one connection is kept for it."""
        if self._kept is None or self._kept.closed:
            self._kept = self._writing.connect()
            if self.engine.dialect.name == "sqlite":
                self._kept.exec_driver_sql(f"PRAGMA cache_size = -{WRITERS_CACHE_KIB}").close()
                self._kept.rollback()
        return self._kept

    def _after_writing(self, connection: Connection) -> None:
        if self.engine.dialect.name != "sqlite" or connection.invalidated:
            connection.close()

    def scrub(self, *, limit: int | None = SCRUB_AT_ONCE_BYTES) -> bool:
        """Rewrite what deleted rows lay in, so that no byte of them is left in files; False to try later.

        On SQLite the file is vacuumed and the write-ahead log emptied; on PostgreSQL the tables that name
        customers are rewritten, and with them the planner's statistics, which hold values of theirs. It holds all
        others off meanwhile, so a database over `limit` bytes is left to `confide consent scrub`.
        """
        if self.engine.dialect.name == "sqlite":
            return self._scrub_sqlite(limit)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            size = connection.scalar(text("SELECT pg_database_size(current_database())"))
            if limit is not None and size > limit:
                return False
            for table in NAMING_CUSTOMERS:
                connection.execute(text(f"VACUUM (FULL, ANALYZE) {table}"))
            connection.execute(text("VACUUM (FULL) pg_catalog.pg_statistic"))
        return True

    def _scrub_sqlite(self, limit: int | None) -> bool:
        with (
            self._writers.alone(),
            closing(self.engine.raw_connection()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (size,) = cursor.execute(
                "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            ).fetchone()
            if limit is not None and size > limit:
                return False
            cursor.execute("VACUUM")
            (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def close(self) -> None:
        """Give back all connections."""
        if self._kept is not None:
            self._kept.close()
        self.engine.dispose()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        f"wal_autocheckpoint={WAL_PAGES}",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.connection.cursor().execute(f"BEGIN {mode}")
