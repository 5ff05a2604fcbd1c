"""The audit log of a simulated federation, verified as an outsider would: from its published folder alone."""

from consent.files import write_atomically
from consent.log.publisher import CHECKPOINT, VERIFIER_KEY
from consent.log.verify import verify_folder
from simulations.federation import Federation
from simulations.results import LogResult

KEPT_KEY = "audit.vkey"
KEPT_CHECKPOINT = "audit.checkpoint"


def log_state(federation: Federation) -> LogResult:
    """Keep the verifier key and last checkpoint apart from the log, then verify the folder under them."""
    federation.publish_log()
    folder = federation.log_folder
    kept_key, kept_checkpoint = federation.folder / KEPT_KEY, federation.folder / KEPT_CHECKPOINT
    write_atomically(kept_checkpoint, (folder / CHECKPOINT).read_bytes())
    if not kept_key.exists():
        write_atomically(kept_key, (folder / VERIFIER_KEY).read_bytes())
    report = verify_folder(folder, vkey=kept_key, since=kept_checkpoint)
    return LogResult(
        path=str(folder),
        vkey=str(kept_key),
        checkpoint=str(kept_checkpoint),
        size=report.size or 0,
        root=report.root or "",
        verified=report.verified,
    )
