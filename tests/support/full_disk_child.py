"""A service whose disk is full for a while; what it did meanwhile goes to standard output as JSON."""

import hashlib
import json
import resource
import signal
import sys
from pathlib import Path

import httpx

from consent.client import ConsentClient
from consent.contract import Act, Choice, DecisionQuery, LegalBasis, Notice, Purpose, SigningKey
from consent.errors import ConsentError
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.settings import ConsentSettings
from consent.transport import InProcessTransport
from consent.wire import Role

PURPOSE = "conversion"
ANN = hashlib.sha256(b"ann").hexdigest()


def limit(size: int) -> None:
    """Let no file be written beyond this size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def served(settings: ConsentSettings, operator: ConsentClient, http: httpx.Client) -> dict[str, object]:
    operator.declare_purpose(
        Purpose(
            purpose=PURPOSE,
            title=PURPOSE,
            legal_basis=LegalBasis.CONSENT,
            data_categories=("behaviour",),
            retention_days=365,
        )
    )
    notice = operator.publish_notice(Notice(purpose=PURPOSE, language="en", text="May we?"))
    brand = ConsentClient(http, operator.enrol(Role.BRAND, "acme", SigningKey.generate().public_key))
    grant = Choice(brand="acme", subject=ANN, act=Act.GRANT, purpose=PURPOSE, notice=notice)
    query = DecisionQuery(brand="acme", subject=ANN, purpose=PURPOSE)
    seen: dict[str, object] = {"size_before": verify_folder(settings.log_dir).size}
    limit((settings.data_dir / "consent.db-wal").stat().st_size)
    try:
        brand.record([grant], idempotency_key="one")
    except ConsentError as error:
        seen["refused"] = error.code
    seen["allowed_while_full"] = brand.decide([query])[0].allowed
    limit(resource.RLIM_INFINITY)
    seen["size_after"] = verify_folder(settings.log_dir).size
    brand.record([grant], idempotency_key="one")
    seen["allowed_with_room"] = brand.decide([query])[0].allowed
    report = verify_folder(settings.log_dir)
    seen.update(size_with_room=report.size, findings=len(report.findings))
    return seen


def main() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    settings = ConsentSettings(data_dir=Path(sys.argv[1]) / "consent", publish_interval=0)
    token = initialise(settings)
    app = create_app(settings)
    with (
        InProcessTransport(app) as transport,
        httpx.Client(transport=transport, base_url="http://consent") as http,
    ):
        seen = served(settings, ConsentClient(http, token), http)
    app.state.workplace.close()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
