"""Where a published log is read from: a folder, or a URL under which the same files are served."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import httpx

from consent.errors import SetupError, UnavailableError
from consent.log.openings import FOLDER as OPENINGS
from consent.log.standstill import standing_still
from consent.log.tiles import ENTRIES, HASH_BYTES, MAX_ENTRY_BYTES, TILE_WIDTH, parse_tile_path

MAX_TEXT_BYTES = 256 * 1024
MAX_REDIRECTS = 3
TIMEOUT = 30.0
NOT_FOUND = 404


class Source(Protocol):
    """A published log, read file by file."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None when it is not there."""

    def names(self) -> frozenset[str] | None:
        """Return the names of all files; None where they can not be listed."""


class FolderSource:
    """A folder that the publisher wrote, or a copy of one."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SetupError(f"There is no folder {folder}; give the folder that holds `checkpoint`.")
        self.folder = folder
        with standing_still(folder):
            self._files: Mapping[str, Path] = {
                path.relative_to(folder).as_posix(): path
                for path in folder.rglob("*")
                if path.is_symlink() or not path.is_dir()
            }
            files = {name: self._files[name] for name in _changing(self._files)}
            self._changing = {name: path.read_bytes() for name, path in files.items() if path.is_file()}

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None when it is not there."""
        if name in self._changing or name not in self._files:
            return self._changing.get(name)
        try:
            return self._files[name].read_bytes()
        except FileNotFoundError:
            return None

    def names(self) -> frozenset[str]:
        """Return the names of all files."""
        return frozenset(self._files)


def _changing(names: Iterable[str]) -> Iterator[str]:
    """Name the files that are needed and that the next publication may change or remove: the newest ones."""
    yield from (name for name in names if "/" not in name)
    widest: dict[str, tuple[int, str]] = {}
    for name in names:
        tile = parse_tile_path(name) if ".p/" in name else None
        if tile is not None:
            directory = name.rpartition("/")[0]
            widest[directory] = max(widest.get(directory, (0, "")), (tile[2], name))
    yield from (name for _, name in widest.values())
    yield from sorted(name for name in names if name.startswith(f"{OPENINGS}/"))[-2:]


class LiveFolder:
    """A folder that is being published into: files are looked for when they are read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None when it is not there now."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self) -> None:
        """Return None: files come and go."""


class HttpSource:
    """A log's static files over HTTP: only GETs, sizes capped, never to another host.

    Args:
        url: what the names of files are appended to.
        http: the client to use; it must not follow redirects by itself.
    """

    def __init__(self, url: str, http: httpx.Client | None = None) -> None:
        self._base = httpx.URL(url.rstrip("/") + "/")
        self._http = http or httpx.Client(follow_redirects=False, timeout=TIMEOUT)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None when there is no such file.

        Raises:
            UnavailableError: no answer, one that is too long, or one that leads to another host.
        """
        url = self._base.join(name)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                with self._http.stream("GET", url) as response:
                    if not response.is_redirect:
                        return _body(response, name)
                    url = self._follow(url, response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(
                f"The log's server does not answer ({type(error).__name__}); check the address."
            ) from error
        raise UnavailableError(f"The log's server redirects {name} over and over.")

    def names(self) -> None:
        """Return None: a server does not list its files."""

    def _follow(self, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        target = url.join(response.headers.get("location", ""))
        if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            raise UnavailableError(
                "The log's server redirects to another host; give that address if you trust it."
            )
        return target


def open_source(place: str) -> Source:
    """Open a folder, or an http(s) URL.

    Raises:
        SetupError: there is no such folder.
    """
    if place.startswith(("http://", "https://")):
        return HttpSource(place)
    return FolderSource(Path(place))


def _body(response: httpx.Response, name: str) -> bytes | None:
    if response.status_code == NOT_FOUND:
        return None
    if not response.is_success:
        raise UnavailableError(f"The log's server answers {response.status_code} for {name}.")
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _cap(name):
            raise UnavailableError(f"The log's server sends over {_cap(name)} bytes for {name}.")
    return bytes(content)


def _cap(name: str) -> int:
    if name.startswith(f"tile/{ENTRIES}/"):
        return TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
    return TILE_WIDTH * HASH_BYTES if name.startswith("tile/") else MAX_TEXT_BYTES
