"""First start and every start of a witness: its key, its state, the logs that it knows."""

from pathlib import Path

from consent.contract import SigningKey
from consent.errors import NoteFormatError, SetupError
from consent.files import write_atomically, write_private
from consent.keyfiles import read_key_file
from consent.log.note import COSIGNATURE, VerifierKey, verifier_key
from consent.witness.settings import WitnessSettings
from consent.witness.store import WitnessStore

KEY = "witness.key"
VERIFIER_KEY = "witness.vkey"
STATE = "witness.db"
RATES = "rates.db"


def initialise(settings: WitnessSettings) -> VerifierKey:
    """Create key and state unless they are there, and return the verifier key, which is also written.

    Raises:
        SetupError: the key file is not usable.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.data_dir / KEY
    if not path.exists():
        write_private(path, SigningKey.generate().private_bytes())
    verifier = verifier_key(settings.name, read_key(settings.data_dir), COSIGNATURE)
    write_atomically(settings.data_dir / VERIFIER_KEY, f"{verifier.encode()}\n".encode())
    WitnessStore.create(settings.data_dir / STATE)
    return verifier


def read_key(folder: Path) -> SigningKey:
    """Read the witness's key.

    Raises:
        SetupError: it is missing, malformed, or readable by others.
    """
    return SigningKey.from_private_bytes(read_key_file(folder / KEY, created_by="confide witness init"))


def read_logs(settings: WitnessSettings) -> dict[str, tuple[VerifierKey, ...]]:
    """Return the known keys of every log by its origin.

    Raises:
        SetupError: a verifier key is not one of a log.
    """
    logs: dict[str, tuple[VerifierKey, ...]] = {}
    for text in settings.logs:
        try:
            key = VerifierKey.parse(text)
        except NoteFormatError as error:
            raise SetupError(f"A log's verifier key in the settings is not one: {error}") from None
        if key.algorithm == COSIGNATURE:
            raise SetupError(f"The key of {key.name} in the settings is a witness's, not a log's.")
        logs[key.name] = (*logs.get(key.name, ()), key)
    return logs
