"""A coordinator in trust mode `distributed` on a bench: the real secure sum, between agents with plain numbers."""

import base64
import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from coordinator_bench import NOW, RUN, PaperService, root
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray
from small_federation import Watcher, small_task

from consent.contract import (
    Abandonment,
    Advertisement,
    Attestation,
    Closing,
    EnrolledBrand,
    Enrolment,
    PrivacyTarget,
    RoundManifest,
    RunSetup,
    SealedShare,
    Signed,
    SigningKey,
    SolverSettings,
    Unmasking,
    wire,
)
from consent.contract.plan import solver_for
from consent.errors import ConflictError, NotFoundError
from consent.wire import RunRecord
from privacy import secure_sum
from privacy.noise_shares import NoiseShares
from privacy.secure_sum import Member, Ring, UnmaskRequest
from privacy.solvers import Query
from server.coordinator import Coordinator
from server.driving import Limits
from server.local_grid import FIRST_NODE_ID, LocalGrid
from server.masked_sums import SecureProtocol
from server.runs import RunFolder
from server.setup import scheme_of

BRANDS = ("ant", "bee", "cat", "dog", "eel")
TASK = small_task(
    privacy=PrivacyTarget(epsilon=2.0, delta=1e-5, trust_mode="distributed", dropouts=1, colluders=1),
    solver=SolverSettings(rounds=2, cells=8, max_bins=4),
)
SOLVER = solver_for(TASK, brands=len(BRANDS))
THRESHOLD, FEWEST = 4, 3

Vector = NDArray[np.int64]
Trouble = Callable[[str, Any], None]
Answer = tuple[dict[str, str], Any]


class StaleError(Exception):
    """What an agent refuses with when somebody changed their mind."""

    code = "stale_round"


class SecureService(PaperService):
    """Records setups, closings and abandonments as the consent service does, once each."""

    def __init__(self, keys: dict[str, str]) -> None:
        super().__init__()
        self.keys = keys
        self.setups: list[Signed[RunSetup]] = []
        self.closings: list[Signed[Closing]] = []
        self.abandonments: list[Signed[Abandonment]] = []
        self.refuse_closing: Callable[[Closing], bool] = lambda _closing: False

    def enrolment(self, brands: Sequence[str]) -> Signed[Enrolment]:
        lines = tuple(EnrolledBrand(brand=brand, key=self.keys[brand]) for brand in sorted(brands))
        body = Enrolment(brands=lines, log_size=1, stated_at=NOW, not_after=NOW + timedelta(hours=1))
        return Signed[Enrolment].seal(body, self.key)

    def record_setup(self, setup: Signed[RunSetup]) -> None:
        if self.setups and self.setups != [setup]:
            raise ConflictError("The run was set up otherwise.")
        self.setups = [setup]

    def close_round(self, closing: Signed[Closing]) -> None:
        if self.refuse_closing(closing.body):
            raise ConflictError("The attempt is not the round's latest.")
        earlier = [one for one in self.closings if one.body.round == closing.body.round]
        if earlier and earlier != [closing]:
            raise ConflictError("The round was closed otherwise.")
        if not earlier:
            self.closings.append(closing)

    def abandon_round(self, abandonment: Signed[Abandonment]) -> None:
        if any(one.body.manifest == abandonment.body.manifest for one in self.closings):
            raise ConflictError("The attempt is closed.")
        self.abandonments.append(abandonment)

    def history(self, run_id: str) -> RunRecord:
        if not self.manifests:
            raise NotFoundError(f"No run {run_id}.")
        return RunRecord(
            manifests=tuple(self.manifests),
            releases=tuple(self.releases),
            setup=self.setups[0],
            closings=tuple(self.closings),
            abandonments=tuple(self.abandonments),
        )


@dataclass
class MaskingAgent:
    """One brand: masks whole numbers that depend on its name and the round, and helps to open each round once.

    `trouble(kind, value)` is called before an answer and may raise; `values` gives its sum, noise included.
    """

    brand: str
    values: Callable[["MaskingAgent", RoundManifest, int], Vector]
    key: SigningKey = field(default_factory=SigningKey.generate)
    trouble: Trouble = lambda _kind, _value: None
    helps: Callable[[Unmasking], Unmasking] = lambda word: word
    asked: list[RoundManifest] = field(default_factory=list)
    released_before: list[str] = field(default_factory=list)
    models: int = 0
    member: Member | None = None
    sums: dict[str, Vector] = field(default_factory=dict)
    answers: dict[str, tuple[Signed[Attestation], Any]] = field(default_factory=dict)
    opened: dict[int, str] = field(default_factory=dict)
    setup_text: str = ""

    def advertise(self, texts: dict[str, str]) -> dict[str, str]:
        if not self.setup_text:
            self.setup_text = texts[wire.SETUP]
            scheme = scheme_of(Signed[RunSetup].model_validate_json(self.setup_text).body)
            self.member = Member(scheme, self.brand, secrets.token_bytes)
        assert texts[wire.SETUP] == self.setup_text, "another setup for the same run"
        assert self.member is not None
        told = self.member.advertise()
        word = Advertisement(
            setup=self._setup_digest(),
            brand=self.brand,
            box_key=told.box_key.hex(),
            slot_keys=tuple(one.hex() for one in told.slot_keys),
            commitments=tuple(one.hex() for one in told.commitments),
        )
        return {wire.ADVERTISEMENT: Signed[Advertisement].seal(word, self.key).model_dump_json()}

    def share(self, texts: dict[str, str]) -> dict[str, str]:
        assert self.member is not None
        words = [Signed[Advertisement].model_validate(one).body for one in json.loads(texts[wire.ADVERTISEMENTS])]
        sealed = self.member.share(
            secure_sum.Advertisement(
                brand=word.brand,
                box_key=bytes.fromhex(word.box_key),
                slot_keys=tuple(bytes.fromhex(one) for one in word.slot_keys),
                commitments=tuple(bytes.fromhex(one) for one in word.commitments),
            )
            for word in words
        )
        shares = [
            SealedShare(
                setup=self._setup_digest(),
                sender=one.sender,
                receiver=one.receiver,
                ciphertext=base64.b64encode(one.ciphertext).decode(),
            ).model_dump(mode="json")
            for one in sealed
        ]
        return {wire.SHARES: json.dumps(shares)}

    def keep(self, texts: dict[str, str]) -> dict[str, str]:
        assert self.member is not None
        shares = [SealedShare.model_validate(one) for one in json.loads(texts[wire.SHARES])]
        self.member.receive(
            secure_sum.SealedShares(one.sender, one.receiver, base64.b64decode(one.ciphertext)) for one in shares
        )
        return {}

    def mask(self, texts: dict[str, str], arrays: dict[str, Any]) -> tuple[Signed[Attestation], Any]:
        manifest = Signed[RoundManifest].model_validate_json(texts[wire.MANIFEST]).body
        self.trouble("round", manifest)
        self.released_before.append(texts.get(wire.RELEASE, ""))
        if manifest.digest() not in self.answers:
            self.asked.append(manifest)
            self.answers[manifest.digest()] = self._masked(manifest, sum_length(arrays))
        return self.answers[manifest.digest()]

    def attest(self, asked: RoundManifest, masked: Any, **changes: Any) -> Signed[Attestation]:
        line = asked.participant(self.brand)
        values: dict[str, Any] = {
            "brand": self.brand,
            "manifest": asked.digest(),
            "snapshot_root": line.snapshot.body.root if line else root("none"),
            "payload": hashlib.sha256(masked.astype(masked.dtype.newbyteorder("<")).tobytes()).hexdigest(),
            "ledger_entry": asked.round + 1,
            "epsilon_spent": 0.1,
            "noise": "system",
        }
        return Signed[Attestation].seal(Attestation(**{**values, **changes}), self.key)

    def install(self, _texts: dict[str, str]) -> dict[str, str]:
        self.models += 1
        return {}

    def open(self, texts: dict[str, str]) -> dict[str, str]:
        assert self.member is not None
        closing = Signed[Closing].model_validate_json(texts[wire.CLOSING]).body
        self.trouble("open", closing)
        assert self.opened.setdefault(closing.round, closing.digest()) == closing.digest(), "opened twice"
        manifest = next(one for one in self.asked if one.digest() == closing.manifest)
        assert manifest.secure_sum is not None
        answer = self.member.unmask(
            UnmaskRequest(
                slot=manifest.secure_sum.slot,
                context=bytes.fromhex(closing.manifest),
                arrived=frozenset(closing.arrived),
                missing=frozenset(closing.missing),
            )
        )
        word = Unmasking(
            brand=self.brand,
            manifest=closing.manifest,
            closing=closing.digest(),
            seeds={brand: share.hex() for brand, share in answer.seeds.items()},
            keys={brand: share.hex() for brand, share in answer.keys.items()},
        )
        return {wire.UNMASKING: Signed[Unmasking].seal(self.helps(word), self.key).model_dump_json()}

    def _masked(self, manifest: RoundManifest, length: int) -> tuple[Signed[Attestation], Any]:
        assert self.member is not None
        assert manifest.secure_sum is not None
        total = self.values(self, manifest, length)
        self.sums[manifest.digest()] = total
        masked = self.member.mask(
            total,
            slot=manifest.secure_sum.slot,
            context=bytes.fromhex(manifest.digest()),
            ring=Ring(manifest.secure_sum.ring_bits),
            present=frozenset(line.brand for line in manifest.participants),
        )
        return self.attest(manifest, masked), masked

    def _setup_digest(self) -> str:
        return Signed[RunSetup].model_validate_json(self.setup_text).body.digest()


def sum_length(arrays: Any) -> int:
    query = Query.from_arrays(arrays)
    return SOLVER.marginals_length if query.marginals is None else int(query.point.size)


def plain(agent: MaskingAgent, manifest: RoundManifest, length: int) -> Vector:
    """Return counts that depend on the brand and the round alone, without noise."""
    scale = 2**10 if manifest.round == 0 else 2**14
    return (np.arange(length) % 7 + BRANDS.index(agent.brand) + 20) * scale


def noised(agent: MaskingAgent, manifest: RoundManifest, length: int) -> Vector:
    """Return the same with the brand's share of noise."""
    mechanism = manifest.mechanism
    steps = mechanism.sensitivity * mechanism.noise_multiplier / mechanism.grid
    shares = NoiseShares(steps, len(BRANDS), TASK.privacy.dropouts, TASK.privacy.colluders)
    return plain(agent, manifest, length) + shares.draw(length, secrets.token_bytes)


class PostGrid(LocalGrid):
    """A local grid on which replies may come some pulls later: `delayed` says how many."""

    def __init__(self, *arguments: Any, delayed: Callable[[Message], int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._delayed = delayed
        self._on_the_way: list[tuple[int, Message]] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        self._on_the_way = [(left - 1, reply) for left, reply in self._on_the_way]
        self._on_the_way += [(self._delayed(reply), reply) for reply in super().pull_messages(wanted)]
        there = [
            reply for left, reply in self._on_the_way if left <= 0 and reply.metadata.reply_to_message_id in wanted
        ]
        self._on_the_way = [one for one in self._on_the_way if not any(one[1] is reply for reply in there)]
        return there


class MaskingBench:
    """A run's coordinator with masking agents behind a local grid, all in one folder."""

    def __init__(self, folder: Path, *, values: Callable[..., Vector] = plain) -> None:
        self.folder = folder
        self.agents = {brand: MaskingAgent(brand, values) for brand in BRANDS}
        self.connected = list(BRANDS)
        self.service = SecureService({name: agent.key.public_key for name, agent in self.agents.items()})
        self.key = SigningKey.generate()
        self.watcher = Watcher()
        self.lost: Callable[[Message, str], bool] = lambda _reply, _brand: False
        self.delayed: Callable[[Message, str], int] = lambda _reply, _brand: 0
        self.now: datetime = NOW
        self.sent: Counter[str] = Counter()

    def protocol(self) -> SecureProtocol:
        return SecureProtocol(
            task=TASK,
            run_id=RUN,
            brands={brand: agent.key.public_key for brand, agent in self.agents.items()},
            key=self.key,
            permissions=self.service,
            round_seconds=3600,
            clock=lambda: self.now,
        )

    def coordinator(self, *, attempts: int = 3) -> Coordinator:
        return Coordinator(
            protocol=self.protocol(),
            folder=RunFolder(self.folder),
            history=self.service.history,
            observer=self.watcher,
            limits=Limits(attempts=attempts, setup_seconds=0, collect_seconds=0, unmask_seconds=0),
        )

    def run(self, **options: Any) -> None:
        self.coordinator(**options).run(self.grid())

    def grid(self) -> PostGrid:
        names = list(self.connected)

        def brand_of(reply: Message) -> str:
            return names[reply.metadata.src_node_id - FIRST_NODE_ID]

        return PostGrid(
            self._client_app(),
            [{"brand": brand} for brand in names],
            lost=lambda reply: self.lost(reply, brand_of(reply)),
            delayed=lambda reply: self.delayed(reply, brand_of(reply)),
        )

    def expected(self, manifest: str, arrived: Iterable[str]) -> Vector:
        """Return the plain sum of what brands put into an attempt."""
        return np.sum([self.agents[brand].sums[manifest] for brand in arrived], axis=0)

    def _client_app(self) -> ClientApp:
        app = ClientApp()

        def agent_of(context: Context) -> MaskingAgent:
            return self.agents[str(context.node_config["brand"])]

        def register(kind: str, act: Callable[[MaskingAgent, dict[str, str]], dict[str, str]]) -> None:
            @app.query(kind)
            def relay(message: Message, context: Context) -> Message:
                agent = agent_of(context)
                return self._handle(message, lambda texts: (act(agent, texts), None))

        register("hello", lambda agent, _texts: {wire.BRAND: agent.brand, wire.KEY: agent.key.public_key})
        for kind, name in (("setup", "advertise"), ("share", "share"), ("keep", "keep"), ("open", "open")):
            register(kind, lambda agent, texts, name=name: getattr(agent, name)(texts))  # type: ignore[misc]
        register("install", MaskingAgent.install)

        @app.train()
        def mask(message: Message, context: Context) -> Message:
            arrays = {name: one.numpy() for name, one in message.content.array_records[wire.ARRAYS].items()}

            def act(texts: dict[str, str]) -> Answer:
                word, masked = agent_of(context).mask(texts, arrays)
                return {wire.ATTESTATION: word.model_dump_json()}, masked

            return self._handle(message, act)

        return app

    def _handle(self, message: Message, act: Callable[[dict[str, str]], Answer]) -> Message:
        self.sent[message.metadata.message_type] += 1
        record = message.content.config_records.get(wire.TEXTS, ConfigRecord())
        try:
            texts, masked = act({name: str(value) for name, value in record.items()})
        except StaleError as refusal:
            texts, masked = {wire.REFUSAL_CODE: refusal.code, wire.REFUSAL_REASON: str(refusal)}, None
        content = RecordDict()
        if texts:
            content[wire.TEXTS] = ConfigRecord(dict(texts))
        if masked is not None:
            content[wire.ARRAYS] = ArrayRecord({wire.SUM: Array(masked)})
        return Message(content, reply_to=message)
