"""The brand's side of runs in trust mode `distributed`: joining, masking, and opening each round at most once.

States of a run at the agent: joined (setup answered), shared (all advertisements answered), ready (shares kept),
over. States of a round: nothing, masked (some attempt's sum has left), opened (a closing of its last attempt was
answered). Each step is durable before its answer leaves, and repeating a message repeats its answer.

More than half of all brands and colluders together have to answer a closing, and an agent answers one of a round.
So of all attempts at a round at most one is ever opened, and the round costs one release.
"""

import base64
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from client.agent import secure_tables as tables
from client.agent.database import empty_log
from client.agent.ledger import BrandLedger, LedgerLine
from client.agent.policy import BrandPolicy
from client.agent.secure_checks import (
    SHARES,
    SKEW,
    check_setup,
    check_setup_time,
    place_of,
    read_advertisements,
    read_closing,
    read_setup,
    read_shares,
    read_task,
    scheme_of,
)
from client.agent.secure_tables import MaskedSlot
from client.agent.trust import BrandIdentity, TrustAnchors
from client.errors import ClosingRefusalError, OrderRefusalError, RefusalError, SetupRefusalError, StaleRoundError
from client.port import KeepRequest, OpenRequest, SetupRequest, ShareRequest
from consent.clock import Clock
from consent.contract import (
    Advertisement,
    Closing,
    RoundManifest,
    RunSetup,
    SealedShare,
    Signed,
    Unmasking,
)
from privacy.errors import PrivacyError
from privacy.secure_sum import Member, Ring, SealedShares, UnmaskRequest
from privacy.secure_sum import Unmasking as Opened


@dataclass(frozen=True)
class _Live:
    """A run in memory; its member may be ahead of what is stored until the step that uses it has ended well."""

    setup: RunSetup
    digest: str
    member: Member


class SecureRuns:
    """The runs of an agent whose sums are masked.

    Args:
        identity: the brand's name and signing key.
        anchors: the public keys that it believes.
        policy: the brand's own limits.
        ledger: the brand's own ledger, in whose file the runs are kept.
        clock: the time, with zone.
    """

    def __init__(
        self,
        *,
        identity: BrandIdentity,
        anchors: TrustAnchors,
        policy: BrandPolicy,
        ledger: BrandLedger,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._anchors = anchors
        self._policy = policy
        self._ledger = ledger
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._one_at_a_time = threading.Lock()
        tables.create_tables(ledger.database)
        empty_log(ledger.database)

    def setup(self, request: SetupRequest) -> str:
        """Join a run, or say again what was said when it was joined; see `AgentPort.setup`.

        Raises:
            RefusalError: it is not one to join, or its name belongs to another setup.
        """
        task, setup = read_task(request.task), read_setup(request.setup, self._anchors)
        self._policy.for_run(task, len(setup.brands))
        check_setup(setup, task, self._identity, self._anchors)
        with self._one_at_a_time:
            self._join(setup)
            with self._working(setup) as live:
                keys = live.member.advertise()
        advertisement = Advertisement(
            setup=live.digest,
            brand=self._identity.brand,
            box_key=keys.box_key.hex(),
            slot_keys=tuple(key.hex() for key in keys.slot_keys),
            commitments=tuple(commitment.hex() for commitment in keys.commitments),
        )
        return Signed[Advertisement].seal(advertisement, self._identity.key).model_dump_json()

    def share(self, request: ShareRequest) -> str:
        """Return this brand's shares for all brands; see `AgentPort.share`.

        Raises:
            RefusalError: the run was not joined, or brands were advertised otherwise before.
        """
        setup = read_setup(request.setup, self._anchors)
        advertised = read_advertisements(request.advertisements, setup)
        with self._one_at_a_time, self._working(setup) as live:
            with _refusing(SetupRefusalError):
                sealed = live.member.share(advertised)
            self._save(live)
        return SHARES.dump_json(tuple(_sealed(live.digest, one) for one in sealed)).decode()

    def keep(self, request: KeepRequest) -> None:
        """Keep all brands' shares for this one; see `AgentPort.keep`.

        Raises:
            RefusalError: the run was not joined or its brands not advertised, or other shares were kept before.
        """
        setup = read_setup(request.setup, self._anchors)
        shares = read_shares(request.shares, setup.digest())
        with self._one_at_a_time, self._working(setup) as live:
            with _refusing(SetupRefusalError):
                live.member.receive([_opened(one) for one in shares])
            self._save(live)

    def setup_of(self, run_id: str) -> RunSetup | None:
        """Return the setup of a run in which the agent can mask.

        Raises:
            OrderRefusalError: the run is over.
        """
        with self._one_at_a_time:
            self._forget_over()
            live = self._live.get(run_id) or self._load(run_id)
        return live.setup if live is not None and live.member.state().held else None

    def masked_before(self, manifest: RoundManifest) -> MaskedSlot | None:
        """Return what the agent answered a manifest with, if it did and answered none after it."""
        with self._ledger.transaction() as connection:
            known = tables.find_masked(connection, manifest.run_id, manifest.digest())
        return None if known is None or known.payload is None else known

    def check_next(self, manifest: RoundManifest, asked: str) -> None:
        """Refuse an attempt that does not follow on those before it.

        Args:
            manifest: the attempt.
            asked: digest of what the round computes.

        Raises:
            OrderRefusalError: it does not.
        """
        with self._ledger.transaction() as connection:
            _require_next(connection, manifest, asked)

    def mask(
        self, setup: RunSetup, manifest: RoundManifest, asked: str, noised: NDArray[np.int64], line: LedgerLine
    ) -> MaskedSlot:
        """Mask a noised sum, and commit ledger line, slot and masked sum together before anything leaves.

        Args:
            setup: the run's.
            manifest: the attempt, as it was checked.
            asked: digest of what the round computes.
            noised: the sum with this brand's share of noise, in grid steps, shape (p,).
            line: the round's ledger line.

        Raises:
            RefusalError: the attempt does not follow on those before it, or its time is over.
        """
        place = place_of(manifest)
        context, present = bytes.fromhex(manifest.digest()), frozenset(one.brand for one in manifest.participants)
        with self._one_at_a_time, self._working(setup) as live:
            with _refusing(OrderRefusalError):
                vector = live.member.mask(
                    noised, slot=place.slot, context=context, ring=Ring(place.ring_bits), present=present
                )
            masked = _masked(manifest, asked, line, vector)
            with self._ledger.committing(line) as connection:
                _require_next(connection, manifest, asked)
                if not tables.is_running(connection, setup.run_id) or self._clock() > manifest.not_after:
                    raise StaleRoundError("The round's time was over before its sum could leave; open it anew.")
                tables.add_slot(connection, setup.run_id, masked)
        return masked

    def open(self, request: OpenRequest) -> str:
        """Return this brand's shares that open an attempt; see `AgentPort.open`.

        Raises:
            RefusalError: it is not the last attempt that the agent masked of the round, its brands are not the
                manifest's, this brand is said to be missing, too few arrived, or another closing was answered.
        """
        setup = read_setup(request.setup, self._anchors)
        closing = read_closing(request.closing, self._anchors)
        with self._one_at_a_time, self._working(setup) as live, self._ledger.transaction() as connection:
            masked = _require_closable(connection, closing, setup.run_id, self._clock())
            with _refusing(ClosingRefusalError):
                opened = live.member.unmask(
                    UnmaskRequest(
                        slot=masked.slot,
                        context=bytes.fromhex(closing.manifest),
                        arrived=frozenset(closing.arrived),
                        missing=frozenset(closing.missing),
                    )
                )
            if masked.closing is None:
                tables.mark_opened(connection, setup.run_id, masked.slot, closing.digest(), closing.arrived)
        return Signed[Unmasking].seal(_unmasking(closing, opened), self._identity.key).model_dump_json()

    def end(self, run_id: str) -> None:
        """Delete the secrets of a run that is over: what was masked in it can be opened by nobody later."""
        with self._one_at_a_time:
            self._forget([run_id])

    def _join(self, setup: RunSetup) -> None:
        self._forget_over()
        if setup.run_id in self._live:
            return
        with self._ledger.transaction() as connection:
            if tables.find_run(connection, setup.run_id) is None:
                check_setup_time(setup, self._clock())
                with _refusing(SetupRefusalError):
                    member = Member(scheme_of(setup), self._identity.brand, secrets.token_bytes)
                tables.add_run(connection, setup, member.state())

    @contextmanager
    def _working(self, setup: RunSetup) -> Iterator[_Live]:
        """Give a run, and drop it from memory when the block fails: it may then be ahead of what is stored."""
        self._forget_over()
        live = self._live.pop(setup.run_id, None) or self._load(setup.run_id)
        if live is None:
            raise OrderRefusalError("The run was not set up with this agent; send its setup first.")
        if live.setup != setup:
            self._live[setup.run_id] = live
            raise SetupRefusalError("The run was set up otherwise before; take another run id.")
        yield live
        self._live[setup.run_id] = live

    def _load(self, run_id: str) -> _Live | None:
        """Read a run back; None when it was never joined."""
        with self._ledger.transaction() as connection:
            kept = tables.find_run(connection, run_id)
            slots = tables.find_slots(connection, run_id)
        if kept is None:
            return None
        if kept.state is None:
            raise OrderRefusalError("The run is over, and its secrets are deleted; start another run.")
        used = {number: slot.used for number, slot in slots.items()}
        with _refusing(SetupRefusalError):
            member = Member.restore(scheme_of(kept.setup), self._identity.brand, kept.state, used)
        return _Live(kept.setup, kept.setup.digest(), member)

    def _save(self, live: _Live) -> None:
        with self._ledger.transaction() as connection:
            if not tables.save_state(connection, live.setup.run_id, live.member.state()):
                raise OrderRefusalError("The run is over, and its secrets are deleted; start another run.")

    def _forget_over(self) -> None:
        with self._ledger.transaction() as connection:
            over = tables.runs_over(connection, self._clock())
        if over:
            self._forget(over)

    def _forget(self, runs: list[str]) -> None:
        for run_id in runs:
            self._live.pop(run_id, None)
        with self._ledger.transaction() as connection:
            tables.forget_secrets(connection, runs)
        empty_log(self._ledger.database)


def _require_next(connection: Connection, manifest: RoundManifest, asked: str) -> None:
    if tables.is_used(connection, manifest.run_id, place_of(manifest).slot):
        raise OrderRefusalError("The slot was used before; its mask hides one sum alone.")
    latest = tables.find_latest(connection, manifest.run_id)
    if latest is None or manifest.round > latest.round:
        return
    if manifest.round < latest.round:
        raise OrderRefusalError("A later round was answered; an earlier one is not asked again.")
    if latest.closing is not None:
        raise OrderRefusalError("The round was opened; it is not asked again.")
    if manifest.attempt <= latest.attempt:
        raise OrderRefusalError("This attempt at the round, or a later one, was answered; it is not asked again.")
    if asked != latest.asked:
        raise OrderRefusalError("An earlier attempt at this round asked for something else.")


def _require_closable(connection: Connection, closing: Closing, run_id: str, now: datetime) -> MaskedSlot:
    """Return the slot that a closing is about, when it may be opened as the closing says."""
    masked = tables.find_masked(connection, run_id, closing.manifest)
    if masked is None:
        raise OrderRefusalError("Nothing was masked for the closing's manifest; there is nothing to open.")
    if (closing.run_id, closing.round, closing.attempt) != (run_id, masked.round, masked.attempt):
        raise ClosingRefusalError("The closing is of another run, round or attempt than its manifest.")
    if masked.closing is not None and masked.closing != closing.digest():
        raise ClosingRefusalError("Another closing of this attempt was answered.")
    if tables.find_latest(connection, run_id, masked.round) != masked:
        raise ClosingRefusalError("A later attempt at the round was answered; this one is never opened.")
    if not masked.opened_at <= closing.closed_at <= min(masked.not_after, now + SKEW):
        raise ClosingRefusalError("The attempt was closed outside of its time, or by a clock that is ahead.")
    return masked


@contextmanager
def _refusing(refusal: type[RefusalError]) -> Iterator[None]:
    try:
        yield
    except PrivacyError as error:
        raise refusal(str(error)) from None


def _masked(
    manifest: RoundManifest, asked: str, line: LedgerLine, vector: NDArray[np.unsignedinteger]
) -> MaskedSlot:
    return MaskedSlot(
        slot=place_of(manifest).slot,
        round=manifest.round,
        attempt=manifest.attempt,
        manifest=manifest.digest(),
        asked=asked,
        present=frozenset(one.brand for one in manifest.participants),
        opened_at=manifest.opened_at,
        not_after=manifest.not_after,
        line=line.number,
        payload=vector.astype(vector.dtype.newbyteorder("<")).tobytes(),
    )


def _sealed(setup: str, one: SealedShares) -> SealedShare:
    ciphertext = base64.b64encode(one.ciphertext).decode()
    return SealedShare(setup=setup, sender=one.sender, receiver=one.receiver, ciphertext=ciphertext)


def _opened(one: SealedShare) -> SealedShares:
    try:
        return SealedShares(one.sender, one.receiver, base64.b64decode(one.ciphertext, validate=True))
    except ValueError:
        raise SetupRefusalError("The run's shares are malformed; check both sides' versions.") from None


def _unmasking(closing: Closing, opened: Opened) -> Unmasking:
    return Unmasking(
        brand=opened.brand,
        manifest=closing.manifest,
        closing=closing.digest(),
        seeds={brand: share.hex() for brand, share in opened.seeds.items()},
        keys={brand: share.hex() for brand, share in opened.keys.items()},
    )
