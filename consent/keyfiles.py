"""Private keys in files: 32 bytes each, readable by their owner alone."""

import stat
from pathlib import Path

from consent.errors import SetupError

KEY_BYTES = 32


def read_key_file(path: Path, *, created_by: str) -> bytes:
    """Return a private key's bytes.

    Args:
        path: the file.
        created_by: the command that creates it, for the sentence.

    Raises:
        SetupError: it is missing, malformed, or readable by others.
    """
    if not path.is_file():
        raise SetupError(f"There is no key at {path}; run `{created_by}` to create one.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SetupError(f"The key at {path} is readable by others; run `chmod 600 {path}`.")
    raw = path.read_bytes()
    if len(raw) != KEY_BYTES:
        raise SetupError(f"The key at {path} is not {KEY_BYTES} bytes long; restore it from its backup.")
    return raw
