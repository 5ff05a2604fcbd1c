"""What customers chose, and whether a use is allowed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from consent.answers import AnswerEvidence, AnswerProof, KeptAnswer
from consent.bulk_import.verdicts import Summary, Verdict, read_answer
from consent.client.calls import KEY, Calls
from consent.contract import Choice, Decision, DecisionQuery
from consent.deciding import RosterRequest, RosterView
from consent.events import HEARTBEAT_SECONDS, Event, read_events
from consent.wire import (
    ChoiceBatch,
    Confirmation,
    ConfirmationToken,
    DecisionBatch,
    Decisions,
    GuardianRecord,
    Merge,
    RecordedChoices,
)

SILENCE_SECONDS = 5 * HEARTBEAT_SECONDS
"""After which a stream of events counts as lost."""


class CustomerCalls(Calls):
    """Choices and decisions; brands."""

    def record(self, choices: Sequence[Choice], *, idempotency_key: str) -> tuple[int, ...]:
        """Record up to 5,000 choices together and return their log indices; brands."""
        body = ChoiceBatch(idempotency_key=idempotency_key, choices=tuple(choices))
        return self._read(RecordedChoices, self._ask("/v1/choices", body, repeatable=True)).log_indices

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
        headers = {"Content-Type": media_type, KEY: name}
        path = f"/v1/imports?dry_run={str(dry_run).lower()}"
        with self._stream("POST", path, headers=headers, content=file) as response:
            yield from read_answer(response.iter_lines())

    def ask_confirmation(self, choice: Choice) -> ConfirmationToken:
        """Keep a grant until its customer confirms it with the token that is returned this once; brands."""
        return self._read(ConfirmationToken, self._act("/v1/confirmations", choice))

    def confirm(self, token: str) -> tuple[int, ...]:
        """Record the grant that a token confirms and return its log index; brands."""
        answer = self._act("/v1/confirmations/confirm", Confirmation(token=token))
        return self._read(RecordedChoices, answer).log_indices

    def merge(self, brand: str, subject: str, other: str) -> None:
        """Make two pseudonyms one customer, for whom the strictest of both counts; brands."""
        self._act("/v1/subjects/merge", Merge(brand=brand, subject=subject, other=other))

    def unmerge(self, brand: str, subject: str, other: str) -> None:
        """Undo a merge: each pseudonym counts for itself again; brands."""
        self._act("/v1/subjects/unmerge", Merge(brand=brand, subject=subject, other=other))

    def appoint_guardian(self, record: GuardianRecord) -> None:
        """Record who answers for a customer, which withdraws what the customer granted before; brands."""
        self._act("/v1/subjects/guardian", record)

    def decide(self, queries: Sequence[DecisionQuery]) -> tuple[Decision, ...]:
        """Ask whether uses are allowed now, answered in order; brands."""
        return self.decide_provably(queries).decisions

    def decide_provably(self, queries: Sequence[DecisionQuery]) -> Decisions:
        """Ask the same; the answers come with a receipt, whose `kept` gives what to keep of each; brands."""
        body = DecisionBatch(queries=tuple(queries))
        return self._read(Decisions, self._ask("/v1/decisions", body))

    def prove_answer(self, answer: KeptAnswer) -> AnswerEvidence:
        """Return what shows that an answer was given, to be checked by `confide audit check-decision`.

        Brands and their admins about their own, officers, auditors. That another answer was given at its place is
        shown in the same way.

        Raises:
            NotFoundError: it is not logged yet, was not given, or is older than the service keeps leaves.
        """
        proof = self._read(AnswerProof, self._ask("/v1/decisions/proof", answer.proof_request()))
        log_proof = self._get(f"/v1/log/proofs/{proof.log_index}").decode()
        return AnswerEvidence(answer=answer, proof=proof, log_proof=log_proof)

    def roster(self, purpose: str) -> RosterView:
        """Return the caller's own roster, for `consent.decider`; brands."""
        return self._read(RosterView, self._ask("/v1/rosters", RosterRequest(purpose=purpose)))

    @contextmanager
    def events(self, size: int) -> Iterator[Iterator[Event]]:
        """Give the caller's events since the log had `size` entries, as they happen, until a side ends it; brands.

        Raises:
            UnavailableError: the service does not answer, or fell silent.
        """
        headers = {"Last-Event-ID": str(size - 1)}
        with self._stream("GET", "/v1/events", headers=headers, silence=SILENCE_SECONDS) as response:
            yield read_events(response.iter_lines())
