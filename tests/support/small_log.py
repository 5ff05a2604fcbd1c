"""A published log of any size, written without a database: what an outside verifier is given."""

from pathlib import Path

from consent.contract import SigningKey
from consent.log.commitments import commit
from consent.log.merkle import halve, leaf_hash, root_hash
from consent.log.note import Checkpoint, sign_checkpoint, verifier_key
from consent.log.tiles import ENTRIES, TILE_BITS, TILE_WIDTH, encode_bundle, layout, tile_path

ORIGIN = "log.example/consent"
KEY = SigningKey.from_private_bytes(bytes(range(32)))


def entries(size: int, salt: bytes = b"") -> list[bytes]:
    """Return the entries of a log."""
    return [commit(salt, b'{"number":%d}' % number) for number in range(size)]


def write_log(folder: Path, size: int, salt: bytes = b"") -> Path:
    """Write a log's vkey, tiles, bundles and checkpoint into a folder and return it."""
    stored = entries(size, salt)
    nodes = [leaf_hash(entry) for entry in stored]
    root = root_hash(nodes)
    folder.mkdir(parents=True, exist_ok=True)
    below = 0
    for level, index, width in layout(size):
        if level != below:
            nodes, below = nodes[: len(nodes) - len(nodes) % TILE_WIDTH], level
            for _ in range(TILE_BITS):
                nodes = halve(nodes)
        within = slice(index * TILE_WIDTH, index * TILE_WIDTH + width)
        _write(folder / tile_path(level, index, width), b"".join(nodes[within]))
        if level == 0:
            _write(folder / tile_path(ENTRIES, index, width), encode_bundle(stored[within]))
    _write(folder / "vkey", f"{verifier_key(ORIGIN, KEY).encode()}\n".encode())
    _write(folder / "checkpoint", sign_checkpoint(Checkpoint(ORIGIN, size, root), KEY).encode())
    return folder


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
