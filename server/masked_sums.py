"""Rounds in trust mode `distributed`: sums that only open together, under one closing a round.

What a brand sends here looks uniform. Of the attempts at a round one is closed, over the brands that arrived, and
those help to open their sum: the coordinator checks who said what, that the shares lead to what brands had
committed to, and that the sum is one that honest brands can have.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from consent.contract import (
    Abandonment,
    Attestation,
    Closing,
    RoundManifest,
    RoundRelease,
    SecureSlot,
    Signed,
    Unmasking,
    wire,
)
from privacy import secure_sum
from privacy.errors import TamperedShareError
from privacy.secure_sum import Opener, Ring, UnmaskRequest
from privacy.solvers import SolverState
from server.errors import ReplyRefusedError, ResumeError, SumRefusedError
from server.mail import Reply
from server.papers import Outcome, RunPapers, SecurePermissions
from server.setup import Agreement

Masked = NDArray[np.unsignedinteger[Any]]
Reason = Literal["too_few_brands", "timed_out", "refused", "stopped"]
MOST_SUBSETS = 10_000
"""Sets of answers that are tried to find out whose shares were altered."""


@dataclass(frozen=True)
class Arrival:
    """A brand's masked sum with its signed word."""

    attestation: Signed[Attestation]
    masked: Masked


@dataclass(frozen=True)
class Attempt:
    """An attempt at a round: what was asked, and what arrived by brand."""

    manifest: Signed[RoundManifest]
    arrivals: Mapping[str, Arrival]

    @property
    def slot(self) -> SecureSlot:
        """Where it is masked.

        Raises:
            ResumeError: nowhere, so that it is no attempt of this trust mode.
        """
        if self.manifest.body.secure_sum is None:
            raise ResumeError("The round was opened in trust mode 'local'; start a run with another id.")
        return self.manifest.body.secure_sum

    @property
    def brands(self) -> frozenset[str]:
        """Who was asked."""
        return frozenset(line.brand for line in self.manifest.body.participants)


@dataclass(frozen=True)
class Closed:
    """An attempt whose sum is being opened, with the brands' answers to its closing."""

    attempt: Attempt
    closing: Signed[Closing]
    unmaskings: Mapping[str, Signed[Unmasking]]

    def to_bytes(self) -> bytes:
        """Return what a coordinator that was stopped needs to go on; brands give their answers again."""
        brands = list(self.closing.body.arrived)
        document = {
            "manifest": self.attempt.manifest.model_dump(mode="json"),
            "closing": self.closing.model_dump(mode="json"),
            "attestations": [self.attempt.arrivals[one].attestation.model_dump(mode="json") for one in brands],
        }
        buffer = io.BytesIO()
        papers = np.frombuffer(json.dumps(document).encode(), dtype=np.uint8)
        sums = np.stack([self.attempt.arrivals[brand].masked for brand in brands])
        np.savez(buffer, allow_pickle=False, papers=papers, sums=sums)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Closed":
        """Read back what `to_bytes` gave.

        Raises:
            ResumeError: it can not be read.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                document, sums = json.loads(stored["papers"].tobytes()), stored["sums"]
            words = [Signed[Attestation].model_validate(one) for one in document["attestations"]]
            arrivals = {word.body.brand: Arrival(word, row) for word, row in zip(words, sums, strict=True)}
            attempt = Attempt(Signed[RoundManifest].model_validate(document["manifest"]), arrivals)
            return cls(attempt, Signed[Closing].model_validate(document["closing"]), {})
        except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile):
            raise ResumeError(
                "The sums of the round that was being opened can not be read; restore the run's folder, or start "
                "a run with another id."
            ) from None


class SecureProtocol(RunPapers):
    """Opens, checks, closes and opens the sums of one run's rounds.

    Args:
        permissions: the consent service.
        **papers: the others, as `RunPapers` takes them.
    """

    def __init__(self, *, permissions: SecurePermissions, **papers: Any) -> None:  # noqa: ANN401 - as RunPapers
        super().__init__(permissions=permissions, **papers)
        self.permissions = permissions

    def attempt(
        self, state: SolverState, agreement: Agreement, *, number: int, slot: int, brands: Collection[str]
    ) -> Attempt:
        """Open an attempt for brands in a new slot; nobody has been asked yet.

        Raises:
            consent.errors.ConsentError: the consent service refuses the round.
        """
        participants = self.participants(sorted(brands))
        sizes = [line.snapshot.body.size_class for line in participants]
        largest = self.solver.largest_sum(state.marginals, size_class=max(sizes), brands=len(participants))
        place = SecureSlot(setup=agreement.digest, slot=slot, ring_bits=_bits(largest))
        return Attempt(self.open(self.manifest(state, number, participants, place)), {})

    def arrived(self, state: SolverState, attempt: Attempt, reply: Reply) -> Attempt:
        """Take a brand's masked sum in.

        Raises:
            ReplyRefusedError: it is not what the attempt asked of this brand.
        """
        signed = self.attested(reply.text(wire.ATTESTATION), [attempt.manifest])
        word, masked = signed.body, reply.array(wire.SUM)
        if word.brand != reply.brand:
            raise ReplyRefusedError(f"Brand {reply.brand!r} passed on what another brand attests.")
        bits = attempt.slot.ring_bits
        if masked.dtype != Ring(bits).type or masked.shape != (self.sum_length(state),):
            raise ReplyRefusedError(f"Brand {word.brand!r} sent a sum of another form than the round's.")
        if word.payload != hashlib.sha256(masked.astype(f"<u{bits // 8}").tobytes()).hexdigest():
            raise ReplyRefusedError(f"Brand {word.brand!r} attests to another sum than it sent.")
        return replace(attempt, arrivals={**attempt.arrivals, word.brand: Arrival(signed, masked)})

    def closing(self, attempt: Attempt) -> Closed:
        """Return the closing over the brands that arrived, signed; nobody knows of it yet."""
        manifest = attempt.manifest.body
        closing = Closing(
            run_id=self.run_id,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=manifest.digest(),
            arrived=tuple(sorted(attempt.arrivals)),
            missing=tuple(sorted(attempt.brands - attempt.arrivals.keys())),
            closed_at=self.clock(),
        )
        return Closed(attempt, Signed[Closing].seal(closing, self.key), {})

    def abandonment(self, attempt: Attempt, reason: Reason) -> Signed[Abandonment]:
        """Return the word that an attempt will not be opened, signed."""
        manifest = attempt.manifest.body
        word = Abandonment(
            run_id=self.run_id,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=manifest.digest(),
            reason=reason,
            abandoned_at=self.clock(),
        )
        return Signed[Abandonment].seal(word, self.key)

    def helped(self, closed: Closed, reply: Reply) -> Closed:
        """Take a brand's shares for a closing in.

        Raises:
            ReplyRefusedError: they are for another closing, or not those that it asks for.
        """
        signed = self.verified(Signed[Unmasking], reply.text(wire.UNMASKING))
        word, closing = signed.body, closed.closing.body
        if word.brand != reply.brand or word.brand not in closing.arrived:
            raise ReplyRefusedError(f"Brand {reply.brand!r} passed on what another brand was asked for.")
        if (word.manifest, word.closing) != (closing.manifest, closing.digest()):
            raise ReplyRefusedError(f"Brand {word.brand!r} answered the closing of another round or attempt.")
        if (set(word.seeds), set(word.keys)) != (set(closing.arrived), set(closing.missing)):
            raise ReplyRefusedError(f"Brand {word.brand!r} did not answer for exactly the round's brands.")
        return replace(closed, unmaskings={**closed.unmaskings, word.brand: signed})

    def total(
        self, state: SolverState, agreement: Agreement, closed: Closed
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return the sum over the brands that arrived, shape (p,), and the brands whose shares were altered.

        Raises:
            privacy.errors.TooFewBrandsError: too few have answered yet.
            privacy.errors.TamperedShareError: shares were altered, and too few are left without them.
            SumRefusedError: the sum is outside of what honest brands can have.
        """
        attempt, arrived = closed.attempt, frozenset(closed.closing.body.arrived)
        request = agreement.opener.request(
            slot=attempt.slot.slot,
            context=bytes.fromhex(closed.closing.body.manifest),
            present=attempt.brands,
            arrived=arrived,
        )
        masked = {brand: attempt.arrivals[brand].masked for brand in arrived}
        answers = [_shares(one.body, attempt.slot.slot) for one in closed.unmaskings.values()]
        ring = Ring(attempt.slot.ring_bits)
        opened, liars = open_despite(agreement.opener, request, masked, answers, ring, agreement.scheme.threshold)
        self._check_range(state, attempt, arrived, opened)
        return opened, liars

    def finish(
        self, state: SolverState, agreement: Agreement, closed: Closed, opened: NDArray[np.int64]
    ) -> tuple[SolverState, Signed[RoundRelease]]:
        """Take the step with an opened sum; return the next state and the release that commits it.

        Raises:
            privacy.errors.PrivacyError: the sum has less noise than is accounted for, or does not fit the round.
        """
        arrived = closed.closing.body.arrived
        shares = self.solver.shares(state.marginals).noise_shares(len(arrived))
        steps = self.solver.mechanism(state.marginals).from_grid(opened)
        outcome = Outcome(
            manifests=(closed.closing.body.manifest,),
            attestations=tuple(closed.attempt.arrivals[brand].attestation for brand in arrived),
            aggregate=opened,
            after=self.solver.advance(state, steps, shares),
            noise_shares=shares,
            closing=closed.closing.body.digest(),
        )
        return outcome.after, self.release(state, outcome)

    def _check_range(
        self, state: SolverState, attempt: Attempt, arrived: Collection[str], opened: NDArray[np.int64]
    ) -> None:
        lines = [attempt.manifest.body.participant(brand) for brand in arrived]
        sizes = [line.snapshot.body.size_class for line in lines if line is not None]
        largest = self.solver.largest_sum(state.marginals, size_class=max(sizes), brands=len(sizes))
        if opened.size and int(np.abs(opened).max()) > largest:
            raise SumRefusedError(
                f"The opened sum of round {state.next_round} holds a number that no honest brands' sums reach, so "
                f"one of {', '.join(sorted(arrived))} sent something else than its sum. The sum hides which; have "
                f"the brands look at their agents, and start a run with another id without the one that failed."
            )


def open_despite(
    opener: Opener,
    request: UnmaskRequest,
    masked: Mapping[str, Masked],
    answers: Sequence[secure_sum.Unmasking],
    ring: Ring,
    threshold: int,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Open a sum although some answers may have been altered; return it with the names of who altered theirs.

    As few answers as possible are left out. Secrets are checked against what brands had committed to before
    anything is subtracted, so that a sum is either right or not opened.

    Raises:
        TooFewBrandsError: fewer than `threshold` answers.
        TamperedShareError: no `threshold` of them lead to what was committed to.
    """
    ordered = sorted(answers, key=lambda answer: answer.brand)
    sizes = range(len(ordered), min(threshold, len(ordered)) - 1, -1)
    subsets = (subset for size in sizes for subset in combinations(ordered, size))
    for subset in islice(subsets, MOST_SUBSETS):
        try:
            opened = opener.open(request, masked, subset, ring)
        except TamperedShareError:
            continue
        used = {answer.brand for answer in subset}
        return opened, tuple(answer.brand for answer in ordered if answer.brand not in used)
    names = ", ".join(answer.brand for answer in ordered)
    raise TamperedShareError(
        f"Shares that {names} sent do not lead to what the brands had committed to, and too few are left to tell "
        f"whose; nothing was learned."
    )


def _shares(word: Unmasking, slot: int) -> secure_sum.Unmasking:
    return secure_sum.Unmasking(
        brand=word.brand,
        slot=slot,
        seeds={brand: bytes.fromhex(share) for brand, share in word.seeds.items()},
        keys={brand: bytes.fromhex(share) for brand, share in word.keys.items()},
    )


def _bits(largest: int) -> Literal[32, 64]:
    return 32 if Ring.holding(largest).bits == 32 else 64  # noqa: PLR2004
