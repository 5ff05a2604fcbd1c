"""A log in a database that is published as it grows."""

from collections.abc import Callable
from pathlib import Path

from consent.contract import SigningKey
from consent.log.publisher import Publisher
from consent.log.store import append, create_head
from consent.store import Database

ORIGIN = "log.example/consent"
KEY = SigningKey.from_private_bytes(bytes(range(32)))


class Log:
    """A log with a publisher; `grow` appends and publishes."""

    def __init__(self, folder: Path, seal: Callable[[str], str] = str) -> None:
        self.seal = seal
        self.root = folder
        self.folder = folder / "log"
        self.database = Database.connect(f"sqlite:///{folder / 'log.db'}")
        self.database.migrate()
        with self.database.writing() as session:
            create_head(session)
        self.publisher = self.restart()

    def restart(self) -> Publisher:
        publisher = Publisher(database=self.database, folder=self.folder, origin=ORIGIN, key=KEY, seal=self.seal)
        publisher.start()
        return publisher

    def append(self, count: int) -> None:
        with self.database.writing() as session:
            append(session, [{"kind": "test", "number": number} for number in range(count)])

    def grow(self, count: int) -> str:
        self.append(count)
        self.publisher.publish()
        return (self.folder / "checkpoint").read_text()

    def tree(self) -> dict[str, bytes]:
        """Return what is published, file by file."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }
