"""Any interleaving of appends, erasures, rotations and crashes: one log, whose proofs never stop to hold."""

import json
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from tempfile import mkdtemp

import pytest
from depth import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from merkle_definition import consistency_proof

from consent.contract import Act, Choice, SigningKey
from consent.log.commitments import ErasedOpening, SealedOpening
from consent.log.merkle import inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from consent.log.note import Checkpoint, VerifierKey, open_checkpoint
from consent.log.store import entries, read_head
from consent.log.verify import verify_folder
from consent.service import create_app, initialise
from consent.service.choices import record
from consent.service.erasure import erase, scrub
from consent.service.principals import enrol
from consent.service.rotation import rotate_log_key
from consent.service.work import Caller, Workplace
from consent.settings import ConsentSettings
from consent.wire import ChoiceBatch, Enrolment, Role, SubjectRequest

SUBJECTS = tuple(secrets.token_hex(32) for _ in range(3))
START = datetime(2026, 11, 2, tzinfo=UTC)


class CrashError(Exception):
    """Where a process would have ended."""


@dataclass
class Kept:
    """What an auditor kept from one moment: the head, its key, and a proof for every entry."""

    checkpoint: Checkpoint
    proofs: list[tuple[bytes, list[bytes]]] = field(default_factory=list)


class Histories(RuleBasedStateMachine):
    """One service that is restarted, one auditor who keeps everything."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="confide-histories-"))
        self.settings = ConsentSettings(data_dir=self.folder / "consent", publish_interval=0)
        self.now = START
        initialise(self.settings, clock=lambda: self.now)
        self.kept: list[Kept] = []
        self.keys: set[VerifierKey] = set()
        self.acknowledged: dict[int, str] = {}
        self.erased: set[int] = set()
        self.batches = 0
        self.copies = 0
        self.work = self._open()
        with self.work.writing() as unit:
            key = SigningKey.generate().public_key
            enrol(unit, Enrolment(role=Role.BRAND, name="acme", public_key=key))
        self.caller = Caller(id=2, role=Role.BRAND, name="acme", public_key=key)

    def _open(self) -> Workplace:
        work: Workplace = create_app(self.settings, clock=lambda: self.now).state.workplace
        return work

    def _copy(self) -> Path:
        """Copy the files as they lie now; the shared memory beside the database does not outlive a crash."""
        self.copies += 1
        copy = self.folder / f"copy-{self.copies}"
        copytree(self.settings.data_dir, copy, ignore=ignore_patterns("*-shm"))
        return copy

    def _reopen(self, copy: Path) -> None:
        """Go on with a copy, as after a crash at the moment when it was made."""
        self.work.database.close()
        rmtree(self.settings.data_dir)
        self.settings = ConsentSettings(data_dir=copy, publish_interval=0)
        self.work = self._open()

    def _batch(self, subjects: list[str]) -> ChoiceBatch:
        self.batches += 1
        choices = [Choice(brand="acme", subject=one, act=Act.GRANT, channel="sms") for one in subjects]
        return ChoiceBatch(idempotency_key=str(self.batches), choices=tuple(choices))

    @rule(subjects=st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=5), published=st.booleans())
    def append(self, subjects: list[str], published: bool) -> None:
        """Append choices; what is acknowledged may not be published yet when the process ends."""
        if published:
            with self.work.writing() as unit:
                done = record(unit, self.caller, self._batch(subjects))
        else:
            with self.work.database.writing() as session:
                done = record(self.work._unit(session), self.caller, self._batch(subjects))
        assert not set(done.log_indices) & self.acknowledged.keys()
        self.acknowledged |= dict(zip(done.log_indices, subjects, strict=True))

    @rule(subject=st.sampled_from(SUBJECTS), known=st.booleans(), scrubbed=st.booleans())
    def erase(self, subject: str, known: bool, scrubbed: bool) -> None:
        """Erase a customer; the process may end before their bytes are out of the files."""
        if known:
            self.append([subject], scrubbed)
        wanted = SubjectRequest(brand="acme", subject=subject)
        mine = {index for index, one in self.acknowledged.items() if one == subject} - self.erased
        with self.work.database.writing() as session:
            assert erase(self.work._unit(session), wanted).entries == len(mine)
        self.erased |= mine
        if scrubbed:
            assert scrub(self.work)

    @rule(days=st.sampled_from([0, 1, 3]))
    def rotate(self, days: int) -> None:
        rotate_log_key(self.work, self.settings.data_dir, overlap=timedelta(days=days))

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(what=st.sampled_from(["append", "erase"]), subject=st.sampled_from(SUBJECTS))
    def crash_before_the_commit(self, what: str, subject: str) -> None:
        """What was not acknowledged leaves nothing."""
        with suppress(CrashError), self.work.writing() as unit:
            if what == "append":
                record(unit, self.caller, self._batch([subject]))
            else:
                erase(unit, SubjectRequest(brand="acme", subject=subject))
            raise CrashError

    @rule(subject=st.sampled_from(SUBJECTS), part=st.floats(0, 1, exclude_max=True))
    def crash_in_a_commit(self, subject: str, part: float) -> None:
        """The database's write-ahead log ends within the transaction, which was not acknowledged."""
        log = self.settings.data_dir / "consent.db-wal"
        copy, before = self._copy(), log.read_bytes()
        with self.work.database.writing() as session:
            record(self.work._unit(session), self.caller, self._batch([subject]))
        written = log.read_bytes()[len(before) :]
        (copy / log.name).write_bytes(before + written[: int(part * len(written))])
        self._reopen(copy)

    @rule(
        what=st.sampled_from(["append", "erase", "rotate"]),
        subject=st.sampled_from(SUBJECTS),
        moment=st.integers(0, 12),
    )
    def crash_while_files_are_written(self, what: str, subject: str, moment: int) -> None:
        """Something is committed and then published, and the process ends where a file is made durable."""
        copies: list[Path] = []
        moments = iter(range(moment))

        def sync(_: int) -> None:
            if next(moments, None) is None and not copies:
                copies.append(self._copy())

        self.append([subject], published=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", sync)
            if what == "append":
                self.append([subject], published=True)
            elif what == "erase":
                self.erase(subject, known=False, scrubbed=True)
            else:
                self.rotate(days=1)
        if copies:
            self._reopen(copies[0])

    @rule()
    def restart(self) -> None:
        self.work.database.close()
        self.work = self._open()

    @rule()
    def publish(self) -> None:
        """Publish, and have the auditor keep the head with a proof of every entry."""
        self.work.publish_now()
        note = (self.settings.log_dir / "checkpoint").read_text()
        self.keys |= set(self.work.publisher.verifiers)
        checkpoint = open_checkpoint(note, *self.work.publisher.verifiers)
        assert checkpoint.size > max(self.acknowledged, default=-1)
        leaves = self._leaves()
        proofs = [(leaf, inclusion_proof(leaves, index)) for index, leaf in enumerate(leaves)]
        self.kept.append(Kept(checkpoint, proofs))

    def _leaves(self) -> list[bytes]:
        with self.work.reading() as unit:
            return [leaf_hash(one.entry) for one in entries(unit.session, 0, read_head(unit.session).size)]

    @invariant()
    def sizes_are_monotone_and_one_size_has_one_root(self) -> None:
        heads = [kept.checkpoint for kept in self.kept]
        assert [head.size for head in heads] == sorted(head.size for head in heads)
        assert len({head.size for head in heads}) == len({(head.size, head.root) for head in heads})

    @precondition(lambda self: self.kept)
    @invariant()
    def every_proof_that_was_given_still_holds(self) -> None:
        leaves = self._leaves()
        with self.work.reading() as unit:
            root = read_head(unit.session).root()
        for kept in self.kept[-2:]:
            head = kept.checkpoint
            for index, (leaf, proof) in enumerate(kept.proofs):
                assert leaves[index] == leaf
                verify_inclusion(leaf=leaf, index=index, size=head.size, proof=proof, root=head.root)
            path = consistency_proof(leaves, head.size)
            sizes = {"old_size": head.size, "new_size": len(leaves)}
            verify_consistency(**sizes, old_root=head.root, new_root=root, proof=path)

    @invariant()
    def exactly_what_was_erased_can_not_be_opened(self) -> None:
        with self.work.reading() as unit:
            stored = list(entries(unit.session, 0, read_head(unit.session).size))
            sealed = {one.index: one.opening for one in stored if isinstance(one.opening, SealedOpening)}
            opened = unit.keys.vault.open_all(unit.session, list(sealed.values()))
        assert {one.index for one in stored if isinstance(one.opening, ErasedOpening)} == self.erased
        assert sealed.keys() == self.acknowledged.keys() - self.erased
        for opening in opened:
            assert opening.opens(stored[opening.index].entry)
            assert json.loads(opening.payload)["subject"] == self.acknowledged[opening.index]

    def teardown(self) -> None:
        self.restart()
        assert scrub(self.work)
        self.publish()
        self.work.close()
        vkeys = self.folder / "vkeys"
        vkeys.write_text("".join(f"{key.encode()}\n" for key in sorted(self.keys, key=repr)))
        report = verify_folder(self.settings.log_dir, vkey=vkeys)
        assert (report.findings, report.erased) == ([], len(self.erased))
        rmtree(self.folder)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=examples(6, 20), stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
