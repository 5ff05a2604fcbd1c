"""The setup of a run in trust mode `distributed`: what its brands agree on before anything is summed.

Three exchanges with every brand of the run: the setup for an advertisement, all advertisements for shares, and the
shares for each brand. The signed setup is kept in the run's folder before it is sent, and what was agreed once the
last brand has its shares: a coordinator that dies in between sends the same setup again, and agents give the same
answers.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from pydantic import TypeAdapter, ValidationError

from consent.contract import (
    Advertisement,
    EnrolledBrand,
    RunSetup,
    SealedShare,
    Signed,
    wire,
)
from consent.contract.aggregation import MAX_SLOTS
from privacy import secure_sum
from privacy.errors import SecureSumError
from privacy.secure_sum import Opener, Scheme
from server.driving import Limits, reasons
from server.errors import ReplyRefusedError, ResumeError, SetupIncompleteError
from server.mail import BrandMail, Letter, Refusal, Reply, content_of
from server.papers import RunPapers, SecurePermissions
from server.runs import RunFolder

SETUP_FILE: Final = "setup.json"
AGREED_FILE: Final = "agreed.json"
SPARE_SLOTS: Final = 16
_ADVERTISEMENTS = TypeAdapter(tuple[Signed[Advertisement], ...])
_SHARES = TypeAdapter(tuple[SealedShare, ...])


@dataclass(frozen=True)
class Agreement:
    """What the brands of a run have agreed on.

    Attributes:
        setup: the run's setup.
        advertisements: every brand's, in the setup's order; checked under its enrolled key.
    """

    setup: Signed[RunSetup]
    advertisements: tuple[Signed[Advertisement], ...]

    @cached_property
    def digest(self) -> str:
        """The setup's digest."""
        return self.setup.body.digest()

    @cached_property
    def scheme(self) -> Scheme:
        """The secure sum's brands and what has to hold among them."""
        return scheme_of(self.setup.body)

    @cached_property
    def opener(self) -> Opener:
        """What opens the run's sums."""
        return Opener(self.scheme, [_published(one.body) for one in self.advertisements])


def scheme_of(setup: RunSetup) -> Scheme:
    """Return the secure sum that a setup describes.

    Raises:
        SetupIncompleteError: no secure sum holds among so many brands, dropouts and colluders.
    """
    try:
        return Scheme(
            run=bytes.fromhex(setup.digest()),
            brands=tuple(line.brand for line in setup.brands),
            colluding=setup.colluders,
            dropouts=setup.dropouts,
            slots=setup.slots,
        )
    except SecureSumError as error:
        raise SetupIncompleteError(str(error)) from None


class RunPreparation:
    """Brings the brands of a run together.

    Args:
        papers: the run's papers.
        permissions: the consent service.
        folder: the run's folder.
        limits: how often and how long to ask.
        run_seconds: how long brands answer for the run.
    """

    def __init__(
        self,
        papers: RunPapers,
        permissions: SecurePermissions,
        folder: RunFolder,
        limits: Limits,
        *,
        run_seconds: float,
    ) -> None:
        self._papers = papers
        self._permissions = permissions
        self._folder = folder
        self._limits = limits
        self._run_seconds = run_seconds

    def agreement(self, mail: BrandMail) -> Agreement:
        """Return what was agreed on, asking the brands where that has not been done to the end.

        Raises:
            SetupIncompleteError: a brand is not there, refuses, or is not enrolled under its key.
            ResumeError: the run is over, or its folder does not hold the run's own setup.
        """
        kept = self._agreed()
        if kept is not None:
            return kept
        signed = self._setup()
        self._permissions.record_setup(signed)
        mail.locate(self._papers.brands, enough=len(self._papers.brands), seconds=self._limits.setup_seconds)
        advertisements = self._advertisements(signed, mail)
        agreed = Agreement(signed, tuple(advertisements[brand] for brand in self._papers.brands))
        self._deal(agreed, mail)
        document = {
            "setup": signed.model_dump(mode="json"),
            "advertisements": [one.model_dump(mode="json") for one in agreed.advertisements],
        }
        self._folder.keep(AGREED_FILE, json.dumps(document).encode())
        return agreed

    def _agreed(self) -> Agreement | None:
        content = self._folder.kept(AGREED_FILE)
        if content is None:
            return None
        try:
            document = json.loads(content)
            agreed = Agreement(
                Signed[RunSetup].model_validate(document["setup"]),
                _ADVERTISEMENTS.validate_python(document["advertisements"]),
            )
        except (ValueError, KeyError, TypeError):
            raise ResumeError(
                "What the run's brands agreed on can not be read; restore the run's folder, or start a run with "
                "another id."
            ) from None
        self._check_own(agreed.setup)
        return agreed

    def _setup(self) -> Signed[RunSetup]:
        """Return the run's setup, the same whenever it is asked."""
        content = self._folder.kept(SETUP_FILE)
        if content is not None:
            try:
                signed = Signed[RunSetup].model_validate_json(content)
            except ValidationError:
                raise ResumeError("The run's setup can not be read; start a run with another id.") from None
            self._check_own(signed)
            return signed
        setup = self._new_setup()
        scheme_of(setup)
        signed = Signed[RunSetup].seal(setup, self._papers.key)
        self._folder.keep(SETUP_FILE, signed.model_dump_json().encode())
        return signed

    def _new_setup(self) -> RunSetup:
        papers, privacy = self._papers, self._papers.task.privacy
        enrolment = self._permissions.enrolment(tuple(papers.brands))
        enrolled = enrolment.body.keys()
        foreign = [brand for brand, key in papers.brands.items() if enrolled.get(brand) != key]
        if foreign:
            raise SetupIncompleteError(
                f"The consent service does not know {', '.join(foreign)} under the key in the settings; compare "
                f"fingerprints with the brand."
            )
        now = papers.clock()
        try:
            return RunSetup(
                run_id=papers.run_id,
                task=papers.task.digest(),
                purpose=papers.task.purpose,
                brands=tuple(EnrolledBrand(brand=brand, key=key) for brand, key in papers.brands.items()),
                dropouts=privacy.dropouts,
                colluders=privacy.colluders,
                slots=min(MAX_SLOTS, 2 * papers.task.total_rounds + SPARE_SLOTS),
                enrolment=enrolment,
                opened_at=now,
                not_after=now + timedelta(seconds=self._run_seconds),
            )
        except ValidationError:
            raise SetupIncompleteError(
                f"A run in trust mode 'distributed' is of 3 to 100 brands, and this one has {len(papers.brands)}."
            ) from None

    def _check_own(self, signed: Signed[RunSetup]) -> None:
        setup, papers = signed.body, self._papers
        keys = {line.brand: line.key for line in setup.brands}
        if (setup.run_id, setup.task, keys) != (papers.run_id, papers.task.digest(), papers.brands):
            raise ResumeError(
                "The run was set up for another task or other brands than the settings name; put those back, or "
                "start a run with another id."
            )
        if papers.clock() > setup.not_after:
            raise ResumeError("The run's time is over, and brands answer no more; start a run with another id.")

    def _advertisements(self, signed: Signed[RunSetup], mail: BrandMail) -> dict[str, Signed[Advertisement]]:
        texts = {wire.TASK: self._papers.task.model_dump_json(), wire.SETUP: signed.model_dump_json()}
        content, digest = content_of(texts), signed.body.digest()
        found: dict[str, Signed[Advertisement]] = {}

        def take(reply: Reply) -> None:
            word = self._papers.verified(Signed[Advertisement], reply.text(wire.ADVERTISEMENT))
            lengths = {len(word.body.slot_keys), len(word.body.commitments)}
            if (word.body.brand, word.body.setup) != (reply.brand, digest) or lengths != {signed.body.slots}:
                raise ReplyRefusedError("The advertisement is another brand's, or of another setup.")
            found[reply.brand] = word

        self._ask_all(mail, lambda brand: Letter(brand, wire.SETUP_MESSAGE, content), take)
        return found

    def _deal(self, agreed: Agreement, mail: BrandMail) -> None:
        """Have every brand share its secrets, and pass the shares on; they are encrypted to their receivers."""
        setup_text = agreed.setup.model_dump_json()
        advertised = _ADVERTISEMENTS.dump_json(agreed.advertisements).decode()
        content = content_of({wire.SETUP: setup_text, wire.ADVERTISEMENTS: advertised})
        sealed: dict[str, dict[str, SealedShare]] = {}

        def take(reply: Reply) -> None:
            sealed[reply.brand] = _shares_of(reply, agreed)

        self._ask_all(mail, lambda brand: Letter(brand, wire.SHARE_MESSAGE, content), take)

        def parcel(brand: str) -> Letter:
            shares = tuple(sealed[sender][brand] for sender in self._papers.brands)
            texts = {wire.SETUP: setup_text, wire.SHARES: _SHARES.dump_json(shares).decode()}
            return Letter(brand, wire.KEEP_MESSAGE, content_of(texts))

        self._ask_all(mail, parcel, lambda _reply: None)

    def _ask_all(self, mail: BrandMail, letter: Callable[[str], Letter], take: Callable[[Reply], None]) -> None:
        """Ask every brand, and those again whose answer does not count.

        Raises:
            SetupIncompleteError: some brand's never does.
        """
        refusals: Mapping[str, Refusal] = {}
        pending = tuple(self._papers.brands)
        for _ in range(self._limits.attempts):
            mail.locate(pending, enough=len(pending), seconds=self._limits.setup_seconds)
            refusals = mail.exchange(
                [letter(brand) for brand in pending], seconds=self._limits.setup_seconds, take=take
            )
            pending = tuple(refusals)
            if not pending:
                return
        raise SetupIncompleteError(
            f"The run can not be set up without {len(pending)} of {len(self._papers.brands)} brands "
            f"({reasons(pending, refusals)}). Mend that and start the run again with the same run id, or leave "
            f"them out of a run with another."
        )


def _published(word: Advertisement) -> secure_sum.Advertisement:
    return secure_sum.Advertisement(
        brand=word.brand,
        box_key=bytes.fromhex(word.box_key),
        slot_keys=tuple(bytes.fromhex(key) for key in word.slot_keys),
        commitments=tuple(bytes.fromhex(one) for one in word.commitments),
    )


def _shares_of(reply: Reply, agreed: Agreement) -> dict[str, SealedShare]:
    """Return a brand's shares by receiver, one for every brand of the run and nothing else."""
    try:
        shares = _SHARES.validate_json(reply.text(wire.SHARES))
    except ValidationError:
        raise ReplyRefusedError("A reply carries no shares; check the agents' versions.") from None
    found = {one.receiver: one for one in shares}
    foreign = [one for one in shares if (one.sender, one.setup) != (reply.brand, agreed.digest)]
    if foreign or len(found) != len(shares) or found.keys() != set(agreed.scheme.brands):
        raise ReplyRefusedError("The shares are another brand's, of another setup, or not one for each brand.")
    return found
