"""How brands, coordinator, officers and operators ask the consent service, over HTTP or in process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Literal, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from consent import errors
from consent.bulk_import.verdicts import Summary, Verdict, read_answer
from consent.contract import (
    Choice,
    Decision,
    DecisionQuery,
    Notice,
    Purpose,
    RoundManifest,
    RoundRelease,
    Signed,
    SnapshotHead,
    SnapshotProof,
    TaskSpec,
)
from consent.credentials import (
    ApiKeyList,
    ApiKeyRequest,
    ApiKeyRevocation,
    ApiKeyView,
    NewApiKey,
    SubjectToken,
    SubjectTokenRequest,
)
from consent.deciding import RosterRequest, RosterView
from consent.errors import ConsentError, UnavailableError
from consent.events import HEARTBEAT_SECONDS, Event, read_events
from consent.preference_signals import (
    ConfirmationRequest,
    ConsentString,
    ExportedString,
    ExportRequest,
    GpcSignal,
    GppAnswer,
    ImportedString,
    OptOutAnswer,
    SignalMapping,
)
from consent.problem import Problem
from consent.rights import (
    AccessRequest,
    AccessStatement,
    ControllerFacts,
    Objection,
    ReceiptRequest,
    RequestsView,
    RightsRequest,
    RightsRequestView,
    Withdrawn,
)
from consent.searching import LogPage, LogQuery
from consent.webhooks import NewWebhook, WebhookList, WebhookRequest, WebhookView
from consent.wire import (
    Approval,
    Budget,
    BudgetsView,
    ChoiceBatch,
    Confirmation,
    ConfirmationToken,
    CoverageView,
    DecisionBatch,
    Decisions,
    EnrolledToken,
    Enrolment,
    GuardianRecord,
    Merge,
    Participation,
    ParticipationView,
    PublishedNotice,
    PurposeCoverage,
    RecordedChoices,
    Role,
    RunRecord,
    SealedSnapshots,
    SealRequest,
    ServiceKeys,
    SnapshotProofRequest,
    SnapshotRequest,
    SnapshotView,
    SubjectRequest,
)

Answer = TypeVar("Answer", bound=BaseModel)


def _subclasses(kind: type[ConsentError]) -> Iterator[type[ConsentError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


SILENCE_SECONDS = 5 * HEARTBEAT_SECONDS
"""After which a stream of events counts as lost."""
ERRORS: Mapping[str, type[ConsentError]] = {kind.code: kind for kind in _subclasses(errors.ConsentError)}


class ConsentClient:
    """One principal's access to the service; every method raises the error that the service named.

    Args:
        http: a client whose base URL is the service's; see `consent.transport` for one without sockets.
        token: the principal's bearer token.
    """

    def __init__(self, http: httpx.Client, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    def declare_purpose(self, purpose: Purpose) -> None:
        """Declare a purpose; operators."""
        self._post("/v1/purposes", purpose)

    def publish_notice(self, notice: Notice) -> str:
        """Publish a notice and return the hash that grants name; operators and officers."""
        return self._read(PublishedNotice, self._post("/v1/notices", notice)).notice

    def enrol(self, role: Role, name: str, public_key: str | None = None, *, brand: str | None = None) -> str:
        """Enrol a principal, or renew one, and return its token; operators. `brand` is whose admin it is."""
        body = Enrolment(role=role, name=name, public_key=public_key, brand=brand)
        return self._read(EnrolledToken, self._post("/v1/principals", body)).token

    def create_api_key(self, wanted: ApiKeyRequest) -> NewApiKey:
        """Make a key for a program, which is shown this once; everybody but customers."""
        return self._read(NewApiKey, self._post("/v1/api-keys", wanted))

    def api_keys(self) -> tuple[ApiKeyView, ...]:
        """List the caller's keys, or all of a brand's for its admin."""
        return self._read(ApiKeyList, self._get("/v1/api-keys")).keys

    def revoke_api_key(self, key_id: str) -> None:
        """End a key of that list now."""
        self._post("/v1/api-keys/revocation", ApiKeyRevocation(key_id=key_id))

    def mint_subject_token(self, wanted: SubjectTokenRequest) -> SubjectToken:
        """Make a token with which a customer acts for themselves; the customer's brand, and its admins."""
        return self._read(SubjectToken, self._post("/v1/subject-tokens", wanted))

    def approve_task(self, task: TaskSpec, ceiling: float, brands: Sequence[str]) -> None:
        """Approve a task for brands, with epsilon `ceiling` per (brand, purpose); officers."""
        self._post("/v1/tasks", Approval(task=task, ceiling=ceiling, brands=tuple(brands)))

    def record(self, choices: Sequence[Choice], *, idempotency_key: str) -> tuple[int, ...]:
        """Record up to 5,000 choices together and return their log indices; brands."""
        body = ChoiceBatch(idempotency_key=idempotency_key, choices=tuple(choices))
        return self._read(RecordedChoices, self._post("/v1/choices", body)).log_indices

    def import_file(
        self, file: IO[bytes], *, name: str, media_type: str, dry_run: bool = False
    ) -> Iterator[Verdict | Summary]:
        """Send a file of choices and yield a verdict per row, the summary last; brands.

        Args:
            file: NDJSON or CSV, in UTF-8.
            name: what the file is called from now on: sent again under its name, it changes nothing.
            media_type: one of `consent.bulk_import`.
            dry_run: whether nothing is recorded.
        """
        headers = {**self._headers, "Content-Type": media_type, "Idempotency-Key": name}
        path = f"/v1/imports?dry_run={str(dry_run).lower()}"
        try:
            with self._http.stream("POST", path, headers=headers, content=file) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield from read_answer(response.iter_lines())
        except httpx.TransportError as error:
            raise _no_answer(error) from error

    def ask_confirmation(self, choice: Choice) -> ConfirmationToken:
        """Keep a grant until its customer confirms it with the token that is returned this once; brands."""
        return self._read(ConfirmationToken, self._post("/v1/confirmations", choice))

    def confirm(self, token: str) -> tuple[int, ...]:
        """Record the grant that a token confirms and return its log index; brands."""
        answer = self._post("/v1/confirmations/confirm", Confirmation(token=token))
        return self._read(RecordedChoices, answer).log_indices

    def merge(self, brand: str, subject: str, other: str) -> None:
        """Make two pseudonyms one customer, for whom the strictest of both counts; brands."""
        self._post("/v1/subjects/merge", Merge(brand=brand, subject=subject, other=other))

    def unmerge(self, brand: str, subject: str, other: str) -> None:
        """Undo a merge: each pseudonym counts for itself again; brands."""
        self._post("/v1/subjects/unmerge", Merge(brand=brand, subject=subject, other=other))

    def appoint_guardian(self, record: GuardianRecord) -> None:
        """Record who answers for a customer, which withdraws what the customer granted before; brands."""
        self._post("/v1/subjects/guardian", record)

    def current_snapshot(self, purpose: str) -> SnapshotView:
        """Return the caller's own sealed snapshot; brands.

        Raises:
            StaleSnapshotError: somebody changed their mind since it was sealed, or it expired.
        """
        return self._read(SnapshotView, self._post("/v1/snapshots/current", SnapshotRequest(purpose=purpose)))

    def current_head(self, purpose: str) -> Signed[SnapshotHead]:
        """Return the head of the caller's own sealed snapshot, without its members; brands.

        Raises:
            StaleSnapshotError: somebody changed their mind since it was sealed, or it expired.
        """
        body = SnapshotRequest(purpose=purpose)
        return self._read(Signed[SnapshotHead], self._post("/v1/snapshots/current/head", body))

    def snapshot_proof(self, brand: str, purpose: str, subject: str) -> SnapshotProof:
        """Return the proof that a customer is, or is not, under a snapshot sealed no earlier than the last change.

        Whoever gets it checks it with `SnapshotProof.verify`. Officers, that brand, its customer.
        """
        body = SnapshotProofRequest(brand=brand, purpose=purpose, subject=subject)
        return self._read(SnapshotProof, self._post("/v1/snapshots/proof", body))

    def roster(self, purpose: str) -> RosterView:
        """Return the caller's own roster, for `consent.decider`; brands."""
        return self._read(RosterView, self._post("/v1/rosters", RosterRequest(purpose=purpose)))

    @contextmanager
    def events(self, size: int) -> Iterator[Iterator[Event]]:
        """Give the caller's events since the log had `size` entries, as they happen, until a side ends it; brands.

        Raises:
            UnavailableError: the service does not answer, or fell silent.
        """
        headers = {**self._headers, "Last-Event-ID": str(size - 1)}
        try:
            with self._http.stream("GET", "/v1/events", headers=headers, timeout=SILENCE_SECONDS) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(response)
                yield read_events(response.iter_lines())
        except httpx.TransportError as error:
            raise _no_answer(error) from error

    def decide(self, queries: Sequence[DecisionQuery]) -> tuple[Decision, ...]:
        """Ask whether uses are allowed now, answered in order; brands."""
        body = DecisionBatch(queries=tuple(queries))
        return self._read(Decisions, self._post("/v1/decisions", body)).decisions

    def seal_snapshots(self, purpose: str, brands: Sequence[str]) -> tuple[Signed[SnapshotHead], ...]:
        """Return a current head per brand, in their order; coordinators."""
        body = SealRequest(purpose=purpose, brands=tuple(brands))
        return self._read(SealedSnapshots, self._post("/v1/snapshots", body)).heads

    def open_round(self, manifest: Signed[RoundManifest]) -> None:
        """Have one attempt of a round permitted and its cost reserved; coordinators."""
        self._post("/v1/rounds", manifest)

    def commit_release(self, release: Signed[RoundRelease]) -> None:
        """Commit the outcome of a round; coordinators."""
        self._post("/v1/releases", release)

    def run(self, run_id: str) -> RunRecord:
        """Return a run's manifests and releases; coordinators and officers."""
        return self._read(RunRecord, self._get(f"/v1/runs/{run_id}"))

    def service_key(self) -> str:
        """Return the public key under which snapshot heads are signed."""
        return self._read(ServiceKeys, self._get("/v1/keys")).snapshots

    def coverage(self, brand: str) -> tuple[PurposeCoverage, ...]:
        """Count what a brand's customers said; officers, and the brand."""
        return self._read(CoverageView, self._get(f"/v1/brands/{brand}/coverage")).purposes

    def participation(self, brand: str, subject: str) -> tuple[Participation, ...]:
        """Return the rounds that could use a customer; officers, and the brand."""
        body = SubjectRequest(brand=brand, subject=subject)
        return self._read(ParticipationView, self._post("/v1/subjects/participation", body)).rounds

    def budgets(self, brand: str) -> tuple[Budget, ...]:
        """Return spent, reserved and approved epsilon per purpose; officers, coordinators, the brand."""
        return self._read(BudgetsView, self._get(f"/v1/brands/{brand}/budgets")).budgets

    def record_controller(self, brand: str, facts: ControllerFacts) -> None:
        """Record who answers for a brand; officers, and the brand and its admins."""
        self._put(f"/v1/brands/{brand}/controller", facts)

    def receipt(self, wanted: ReceiptRequest) -> bytes:
        """Return a record or receipt as JSON-LD; officers, the brand and its admins, the customer."""
        return self._post("/v1/receipts", wanted)

    def access(self, wanted: AccessRequest) -> AccessStatement:
        """Return everything about a customer; the customer, or with an approved request officers and the brand."""
        return self._read(AccessStatement, self._post("/v1/subjects/access", wanted))

    def access_page(self, wanted: AccessRequest) -> str:
        """Return the same as a page to print."""
        return self._post("/v1/subjects/access/page", wanted).decode()

    def withdraw_everything(self, brand: str, subject: str) -> Withdrawn:
        """Withdraw all purposes and channels; the customer, officers, the brand and its admins."""
        body = SubjectRequest(brand=brand, subject=subject)
        return self._read(Withdrawn, self._post("/v1/subjects/withdrawal", body))

    def object_to(self, wanted: Objection) -> Withdrawn:
        """Deny purposes that a customer objects to; callers as for a withdrawal."""
        return self._read(Withdrawn, self._post("/v1/subjects/objection", wanted))

    def ask_right(self, wanted: RightsRequest) -> RightsRequestView:
        """Ask for a copy or an erasure on behalf of a customer; officers, the brand and its admins."""
        return self._read(RightsRequestView, self._post("/v1/requests", wanted))

    def requests(self) -> tuple[RightsRequestView, ...]:
        """Return the newest requests; officers, the brand and its admins."""
        return self._read(RequestsView, self._get("/v1/requests")).requests

    def approve_request(self, request_id: str) -> RightsRequestView:
        """Approve what somebody else asked for; an erasure is done before this returns."""
        return self._read(RightsRequestView, self._post_nothing(f"/v1/requests/{request_id}/approve"))

    def reject_request(self, request_id: str) -> RightsRequestView:
        """Reject a request, or take one's own back."""
        return self._read(RightsRequestView, self._post_nothing(f"/v1/requests/{request_id}/reject"))

    def search_log(self, query: LogQuery) -> LogPage:
        """Return a page of log entries, which is logged; officers, and a brand about itself."""
        return self._read(LogPage, self._post("/v1/log/search", query))

    def register_webhook(self, url: str) -> NewWebhook:
        """Have an address told of every choice from now on; shows the signing secret once; admins of brands."""
        return self._read(NewWebhook, self._post("/v1/webhooks", WebhookRequest(url=url)))

    def webhooks(self) -> tuple[WebhookView, ...]:
        """Return the caller's brand's addresses and how deliveries to them go; the brand's side."""
        return self._read(WebhookList, self._get("/v1/webhooks")).webhooks

    def remove_webhook(self, webhook_id: str) -> None:
        """Have an address told nothing any more; admins of brands."""
        self._send(self._http.build_request("DELETE", f"/v1/webhooks/{webhook_id}", headers=self._headers))

    def honour_gpc(self, brand: str, subject: str, header_values: Sequence[str]) -> OptOutAnswer:
        """Forward the `Sec-GPC` values of a customer's request, as received; brands."""
        body = GpcSignal(brand=brand, subject=subject, header_values=tuple(header_values))
        return self._read(OptOutAnswer, self._post("/v1/signals/gpc", body))

    def opt_out_confirmation(self, brand: str, subject: str) -> OptOutAnswer:
        """Return whether a customer's opt-out is in effect now; brands."""
        body = ConfirmationRequest(brand=brand, subject=subject)
        return self._read(OptOutAnswer, self._post("/v1/signals/confirmation", body))

    def opt_out_page(self, brand: str, subject: str) -> str:
        """Return the same as a page of HTML to show to the customer; brands."""
        body = ConfirmationRequest(brand=brand, subject=subject, format="html")
        return self._post("/v1/signals/confirmation", body).decode()

    def import_tcf(self, brand: str, subject: str, text: str) -> ImportedString:
        """Record what a customer's TC string says; brands."""
        body = ConsentString(brand=brand, subject=subject, text=text)
        return self._read(ImportedString, self._post("/v1/signals/tcf", body))

    def import_gpp(self, brand: str, subject: str, text: str) -> GppAnswer:
        """Record what a customer's GPP string says; brands."""
        body = ConsentString(brand=brand, subject=subject, text=text)
        return self._read(GppAnswer, self._post("/v1/signals/gpp", body))

    def export_string(self, brand: str, subject: str, form: Literal["tcf", "usnat"]) -> ExportedString:
        """Return a consent string written from a customer's choices; brands."""
        body = ExportRequest(brand=brand, subject=subject, format=form)
        return self._read(ExportedString, self._post("/v1/signals/export", body))

    def declare_signal_mapping(self, brand: str, mapping: SignalMapping) -> None:
        """Declare what signals and strings mean for a brand; officers."""
        self._put(f"/v1/brands/{brand}/signal-mapping", mapping)

    def signal_mapping(self, brand: str) -> SignalMapping:
        """Return what signals and strings mean for a brand; officers, and the brand."""
        return self._read(SignalMapping, self._get(f"/v1/brands/{brand}/signal-mapping"))

    def checkpoint(self) -> str:
        """Return the log's signed checkpoint, to be kept and compared later."""
        return self._get("/v1/log/checkpoint").decode()

    def _get(self, path: str) -> bytes:
        return self._send(self._http.build_request("GET", path, headers=self._headers))

    def _post_nothing(self, path: str) -> bytes:
        return self._send(self._http.build_request("POST", path, headers=self._headers))

    def _post(self, path: str, body: BaseModel) -> bytes:
        return self._send(self._with_body("POST", path, body))

    def _put(self, path: str, body: BaseModel) -> bytes:
        return self._send(self._with_body("PUT", path, body))

    def _with_body(self, method: str, path: str, body: BaseModel) -> httpx.Request:
        headers = {**self._headers, "Content-Type": "application/json"}
        content = body.model_dump_json().encode()
        return self._http.build_request(method, path, headers=headers, content=content)

    def _send(self, request: httpx.Request) -> bytes:
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            raise _no_answer(error) from error
        if response.is_success:
            return response.content
        raise _refusal(response)

    def _read(self, kind: type[Answer], content: bytes) -> Answer:
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise UnavailableError("The consent service answered in a form that is not its own.") from None


def _no_answer(error: httpx.TransportError) -> UnavailableError:
    return UnavailableError(f"The consent service does not answer ({type(error).__name__}); check that it runs.")


def _refusal(response: httpx.Response) -> ConsentError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return UnavailableError(
            f"The consent service answered {response.status_code} in a form that is not its own."
        )
    return _named(problem, response.headers.get("retry-after", ""))


def _named(problem: Problem, retry_after: str) -> ConsentError:
    """Return the error that a problem names, with the seconds to wait where it carries them."""
    kind = ERRORS.get(problem.code, ConsentError)
    if issubclass(kind, errors.BusyError | errors.RateLimitedError) and retry_after.isdecimal():
        return kind(problem.detail, retry_after=int(retry_after))
    return kind(problem.detail)
