"""Tasks, snapshots, rounds, how they end, and their releases."""

from collections.abc import Sequence
from urllib.parse import urlencode

from consent.client.calls import Calls
from consent.contract import (
    Abandonment,
    Closing,
    Enrolment,
    RemedyPolicy,
    RoundManifest,
    RoundRelease,
    RunSetup,
    Signed,
    SnapshotHead,
    SnapshotProof,
    TaskSpec,
    Unspent,
)
from consent.wire import (
    Approval,
    RunPage,
    RunRecord,
    SealedSnapshots,
    SealRequest,
    SnapshotProofRequest,
    SnapshotRequest,
    SnapshotView,
)


class RoundCalls(Calls):
    """Training, from the approval of a task to the release of its rounds."""

    def approve_task(
        self, task: TaskSpec, ceiling: float, brands: Sequence[str], *, remedy: RemedyPolicy | None = None
    ) -> None:
        """Approve a task for brands, with epsilon `ceiling` per (brand, purpose); officers."""
        self._act("/v1/tasks", Approval(task=task, ceiling=ceiling, brands=tuple(brands), remedy=remedy))

    def current_snapshot(self, purpose: str) -> SnapshotView:
        """Return the caller's own sealed snapshot; brands.

        Raises:
            StaleSnapshotError: somebody changed their mind since it was sealed, or it expired.
        """
        return self._read(SnapshotView, self._ask("/v1/snapshots/current", SnapshotRequest(purpose=purpose)))

    def current_head(self, purpose: str) -> Signed[SnapshotHead]:
        """Return the head of the caller's own sealed snapshot, without its members; brands.

        Raises:
            StaleSnapshotError: somebody changed their mind since it was sealed, or it expired.
        """
        body = SnapshotRequest(purpose=purpose)
        return self._read(Signed[SnapshotHead], self._ask("/v1/snapshots/current/head", body))

    def snapshot_proof(self, brand: str, purpose: str, subject: str) -> SnapshotProof:
        """Return the proof that a customer is, or is not, under a snapshot sealed no earlier than the last change.

        Whoever gets it checks it with `SnapshotProof.verify`. Officers, that brand, its customer.
        """
        body = SnapshotProofRequest(brand=brand, purpose=purpose, subject=subject)
        return self._read(SnapshotProof, self._ask("/v1/snapshots/proof", body))

    def seal_snapshots(self, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
        """Return a current head per brand, in their order; coordinators."""
        body = SealRequest(purpose=purpose, brands=tuple(brands))
        return self._read(SealedSnapshots, self._act("/v1/snapshots", body)).heads

    def open_round(self, manifest: Signed[RoundManifest]) -> None:
        """Have one attempt of a round permitted and its cost reserved; coordinators."""
        self._act("/v1/rounds", manifest)

    def enrolment(self, brands: Sequence[str]) -> Signed[Enrolment]:
        """Return the service's word on brands' keys; coordinators, officers, auditors, and a brand of itself."""
        return self._read(
            Signed[Enrolment], self._get(f"/v1/enrolment?{urlencode([('brand', brand) for brand in brands])}")
        )

    def record_setup(self, setup: Signed[RunSetup]) -> None:
        """Record what the brands of a run of secure sums agree on; coordinators."""
        self._act("/v1/rounds/setup", setup)

    def close_round(self, closing: Signed[Closing]) -> None:
        """Fix whose sums of a round are opened, for good; coordinators."""
        self._act("/v1/rounds/closing", closing)

    def abandon_round(self, abandonment: Signed[Abandonment]) -> None:
        """Log that an attempt will never be opened; coordinators."""
        self._act("/v1/rounds/abandonment", abandonment)

    def state_unspent(self, unspent: Signed[Unspent]) -> None:
        """Give back what a round reserved of which nothing left; the brand.

        Raises:
            ConflictError: an attempt still asks the brand, or its sum is in what is released.
        """
        self._act("/v1/rounds/unspent", unspent)

    def commit_release(self, release: Signed[RoundRelease]) -> None:
        """Commit the outcome of a round; coordinators."""
        self._act("/v1/releases", release)

    def run(self, run_id: str) -> RunRecord:
        """Return everything recorded of a run, read page by page; coordinators, officers and auditors."""
        pages = [self._run_page(run_id)]
        while (cursor := pages[-1].cursor) is not None:
            pages.append(self._run_page(run_id, after=cursor))
        return RunRecord(
            manifests=tuple(one for page in pages for one in page.manifests),
            releases=tuple(one for page in pages for one in page.releases),
            setup=next((page.setup for page in pages if page.setup is not None), None),
            closings=tuple(one for page in pages for one in page.closings),
            abandonments=tuple(one for page in pages for one in page.abandonments),
        )

    def _run_page(self, run_id: str, **after: int) -> RunPage:
        return self._read(RunPage, self._get(f"/v1/runs/{run_id}", after))
