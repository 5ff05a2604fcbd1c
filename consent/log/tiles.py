"""Where tiles lie and what is in them (C2SP tlog-tiles)."""

import re
from collections.abc import Iterable, Sequence

from consent.errors import LogError

TILE_WIDTH = 256
TILE_BITS = 8
HASH_BYTES = 32
MAX_ENTRY_BYTES = 0xFFFF
ENTRIES = "entries"
TILE_PATH = re.compile(
    r"^tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?$"
)


def index_path(index: int) -> str:
    """Write a tile's number in groups of three digits: 1234067 is x001/x234/067."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def tile_path(level: int | str, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile, or of an entry bundle when `level` is "entries"."""
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{index_path(index)}{suffix}"


def is_tile_path(path: str) -> bool:
    """Tell whether a path names a tile or bundle that could exist, in its only spelling."""
    return parse_tile_path(path) is not None


def parse_tile_path(path: str) -> tuple[int | str, int, int] | None:
    """Return what `tile_path` was given for a path; None when it does not write such a path."""
    match = TILE_PATH.fullmatch(path)
    if match is None:
        return None
    level, groups, width = match.groups()
    index = int(groups.replace("x", "").replace("/", ""))
    if index_path(index) != groups or (width is not None and int(width) >= TILE_WIDTH):
        return None
    return ENTRIES if level == ENTRIES else int(level), index, int(width or TILE_WIDTH)


def width_at(level: int | str, index: int, size: int) -> int:
    """Return how many hashes or entries a tile has in a tree of `size` leaves, 0 to 256."""
    count = size if isinstance(level, str) else size >> (TILE_BITS * level)
    return max(0, min(TILE_WIDTH, count - index * TILE_WIDTH))


def completed(before: int, after: int) -> Iterable[tuple[int | str, int]]:
    """Yield (level, index) of what is partial in a tree of `before` leaves and full in one of `after`."""
    level, count = 0, before
    while count:
        index = count // TILE_WIDTH
        if count % TILE_WIDTH and width_at(level, index, after) == TILE_WIDTH:
            yield level, index
            if level == 0:
                yield ENTRIES, index
        level, count = level + 1, index


def layout(size: int) -> Iterable[tuple[int, int, int]]:
    """Yield (level, index, width) of every hash tile of a tree of `size` leaves."""
    level, count = 0, size
    while count:
        yield from ((level, index, TILE_WIDTH) for index in range(count // TILE_WIDTH))
        if count % TILE_WIDTH:
            yield level, count // TILE_WIDTH, count % TILE_WIDTH
        level, count = level + 1, count // TILE_WIDTH


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write entries, each after its length as a big-endian 16-bit number.

    Raises:
        LogError: an entry is over 65,535 bytes.
    """
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise LogError(f"A log entry holds at most {MAX_ENTRY_BYTES} bytes.")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(raw: bytes) -> list[bytes]:
    """Read the entries of a bundle.

    Raises:
        LogError: a length does not fit the bytes.
    """
    stride = 2 + int.from_bytes(raw[:2], "big")
    count, rest = divmod(len(raw), stride)
    if not rest and raw[::stride] + raw[1::stride] == raw[:1] * count + raw[1:2] * count and count:
        return [raw[start : start + stride - 2] for start in range(2, len(raw), stride)]
    return _decode_lengths(raw)


def _decode_lengths(raw: bytes) -> list[bytes]:
    entries: list[bytes] = []
    position = 0
    while position < len(raw):
        length = int.from_bytes(raw[position : position + 2], "big")
        entry = raw[position + 2 : position + 2 + length]
        if position + 2 > len(raw) or len(entry) != length:
            raise LogError(f"The bundle breaks off in its entry {len(entries)}.")
        entries.append(entry)
        position += 2 + length
    return entries


def truncate_bundle(raw: bytes, width: int) -> bytes:
    """Return the bundle of the first `width` entries.

    Raises:
        LogError: a length does not fit the bytes.
    """
    return encode_bundle(decode_bundle(raw)[:width])


def decode_tile(raw: bytes) -> list[bytes]:
    """Read the hashes of a tile.

    Raises:
        LogError: not a whole number of hashes.
    """
    if len(raw) % HASH_BYTES:
        raise LogError("A tile's length is not a multiple of 32 bytes.")
    return [raw[start : start + HASH_BYTES] for start in range(0, len(raw), HASH_BYTES)]
