"""Several agents in one run of trust mode `distributed`; coordinator and consent service are the test's."""

import copy
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from agent_bench import RUN, AgentBench, UnspentBox
from numpy.typing import NDArray
from pydantic import TypeAdapter
from small_federation import DELTA, EPSILON, ZeroNoise, small_table, small_task

from client.agent.secure_checks import scheme_of
from client.port import KeepRequest, OpenRequest, RoundReply, RoundRequest, SetupRequest, ShareRequest
from consent.contract import (
    Advertisement,
    Attestation,
    Closing,
    EnrolledBrand,
    Enrolment,
    Mechanism,
    Participant,
    Phase,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    RunSetup,
    SealedShare,
    SecureSlot,
    Signed,
    SigningKey,
    SolverSettings,
    TaskSpec,
    Unmasking,
)
from consent.contract.plan import solver_for
from privacy.randomness import NoiseSource
from privacy.secure_sum import Advertisement as Keys
from privacy.secure_sum import Opener, Ring
from privacy.secure_sum import Unmasking as Opened
from privacy.solvers import SolverState
from privacy.vectors import Arrays, arrays_digest

TOWN = ("ant", "bee", "cat", "dog", "eel")
DROPOUTS = COLLUDERS = 1
SLOTS = 12
ADVERTISEMENTS = TypeAdapter(tuple[Signed[Advertisement], ...])
SHARES = TypeAdapter(tuple[SealedShare, ...])


def secure_task(**changes: Any) -> TaskSpec:
    privacy = {
        "epsilon": EPSILON,
        "delta": DELTA,
        "trust_mode": "distributed",
        "dropouts": DROPOUTS,
        "colluders": COLLUDERS,
        **changes,
    }
    return small_task(
        privacy=PrivacyTarget(**privacy),
        solver=SolverSettings(rounds=3, cells=16, max_bins=8),
        minimum_cohort=20,
    )


@dataclass
class SecureBench:
    """A run that a test plays message by message."""

    folder: Path
    brands: tuple[str, ...] = TOWN
    task: TaskSpec = field(default_factory=secure_task)
    noise: NoiseSource = field(default_factory=ZeroNoise)
    run_id: str = RUN

    def __post_init__(self) -> None:
        self.coordinator, self.consent = SigningKey.generate(), SigningKey.generate()
        self.agents = {brand: self._bench(brand) for brand in self.brands}
        self.solver = solver_for(self.task, brands=len(self.brands))
        self.state: SolverState = self.solver.start()
        self.release = ""
        self.attempt = 0
        self.slot = 0
        self.setup_text = ""

    def _bench(self, brand: str) -> AgentBench:
        folder = self.folder / brand
        folder.mkdir(parents=True, exist_ok=True)
        return AgentBench(
            folder,
            self.task,
            noise=self.noise,
            table=small_table(brand),
            brand=brand,
            coordinator=self.coordinator,
            consent=self.consent,
        )

    @property
    def first(self) -> AgentBench:
        return self.agents[self.brands[0]]

    def wait(self, time: timedelta) -> None:
        for bench in self.agents.values():
            bench.now += time

    def enrolled(self) -> tuple[EnrolledBrand, ...]:
        return tuple(EnrolledBrand(brand=name, key=one.key.public_key) for name, one in self.agents.items())

    def enrolment(self, signer: SigningKey | None = None, **changes: Any) -> Signed[Enrolment]:
        now = self.first.now
        values = {
            "brands": self.enrolled(),
            "log_size": 9,
            "stated_at": now,
            "not_after": now + timedelta(hours=1),
        }
        return Signed[Enrolment].seal(Enrolment(**{**values, **changes}), signer or self.consent)

    def setup(self, **changes: Any) -> RunSetup:
        now = self.first.now
        values = {
            "run_id": self.run_id,
            "task": self.task.digest(),
            "purpose": self.task.purpose,
            "brands": self.enrolled(),
            "dropouts": DROPOUTS,
            "colluders": COLLUDERS,
            "slots": SLOTS,
            "opened_at": now,
            "not_after": now + timedelta(days=7),
        }
        if "enrolment" not in changes:
            changes["enrolment"] = self.enrolment()
        return RunSetup(**{**values, **changes})

    def setup_request(self, setup: RunSetup | None = None, *, signer: SigningKey | None = None) -> SetupRequest:
        signed = Signed[RunSetup].seal(setup or self.setup(), signer or self.coordinator)
        return SetupRequest(self.task.model_dump_json(), signed.model_dump_json())

    def advertise(self, setup: RunSetup | None = None) -> None:
        """Have every agent join the run."""
        request = self.setup_request(setup)
        self.setup_text = request.setup
        self.agreed = Signed[RunSetup].model_validate_json(request.setup).body
        self.advertised = [one.agent.setup(request) for one in self.agents.values()]

    def share_request(self, advertised: Iterable[str] | None = None) -> ShareRequest:
        texts = self.advertised if advertised is None else advertised
        return ShareRequest(self.setup_text, f"[{','.join(texts)}]")

    def share(self) -> None:
        """Have every agent share its secrets."""
        request = self.share_request()
        self.sealed = {name: one.agent.share(request) for name, one in self.agents.items()}

    def keep_request(self, brand: str) -> KeepRequest:
        everything = [one for text in self.sealed.values() for one in SHARES.validate_json(text)]
        for_brand = tuple(one for one in everything if one.receiver == brand)
        return KeepRequest(self.setup_text, SHARES.dump_json(for_brand).decode())

    def keep(self) -> None:
        for name, one in self.agents.items():
            one.agent.keep(self.keep_request(name))

    def set_up(self, setup: RunSetup | None = None) -> None:
        """Take the run to its first round."""
        self.advertise(setup)
        self.share()
        self.keep()

    def arrays(self) -> Arrays:
        return self.solver.query(self.state).to_arrays()

    def participants(self, brands: Iterable[str] | None = None) -> tuple[Participant, ...]:
        names = self.brands if brands is None else tuple(brands)
        return tuple(self.agents[name].participant() for name in names)

    def mechanism(self, **changes: Any) -> Mechanism:
        plan = self.solver.mechanism(self.state.marginals)
        values = {
            "name": "discrete_gaussian",
            "sensitivity": plan.sensitivity,
            "noise_multiplier": plan.noise_multiplier,
            "grid": plan.grid,
        }
        return Mechanism(**{**values, **changes})

    def place(self, **changes: Any) -> SecureSlot:
        values = {"setup": self.agreed.digest(), "slot": self.slot, "ring_bits": 32}
        return SecureSlot(**{**values, **changes})

    def manifest(self, **changes: Any) -> RoundManifest:
        now = self.first.now
        values: dict[str, Any] = {
            "run_id": self.run_id,
            "round": self.state.next_round,
            "attempt": self.attempt,
            "task": self.task.digest(),
            "purpose": self.task.purpose,
            "phase": Phase.MARGINALS if self.state.marginals is None else Phase.GRADIENT,
            "model": arrays_digest(self.arrays()),
            "mechanism": self.mechanism(),
            "participants": self.participants(),
            "epsilon_before": 0.0,
            "epsilon_after": EPSILON,
            "opened_at": now,
            "not_after": now + timedelta(hours=1),
            "secure_sum": self.place(),
        }
        return RoundManifest(**{**values, **changes})

    def request(self, manifest: RoundManifest | None = None, *, release: str | None = None) -> RoundRequest:
        signed = Signed[RoundManifest].seal(manifest or self.manifest(), self.coordinator)
        return RoundRequest(
            task=self.task.model_dump_json(),
            manifest=signed.model_dump_json(),
            arrays=self.arrays(),
            release=self.release if release is None else release,
        )

    def anew(self) -> None:
        """Go on to the round's next attempt."""
        self.attempt += 1
        self.slot += 1

    def mask(self, manifest: RoundManifest, brands: Iterable[str] | None = None) -> dict[str, RoundReply]:
        """Have agents mask an attempt."""
        request = self.request(manifest)
        names = self.brands if brands is None else tuple(brands)
        return {name: self.agents[name].agent.release(request) for name in names}

    def closing(self, manifest: RoundManifest, arrived: Iterable[str], **changes: Any) -> Closing:
        names = {line.brand for line in manifest.participants}
        there = tuple(sorted(arrived))
        values = {
            "run_id": manifest.run_id,
            "round": manifest.round,
            "attempt": manifest.attempt,
            "manifest": manifest.digest(),
            "arrived": there,
            "missing": tuple(sorted(names - set(there))),
            "closed_at": self.first.now,
        }
        return Closing(**{**values, **changes})

    def open_request(self, closing: Closing, *, signer: SigningKey | None = None) -> OpenRequest:
        signed = Signed[Closing].seal(closing, signer or self.coordinator)
        return OpenRequest(self.setup_text, signed.model_dump_json())

    def unmask(self, closing: Closing, brands: Iterable[str] | None = None) -> dict[str, str]:
        """Have agents answer a closing."""
        request = self.open_request(closing)
        return {name: self.agents[name].agent.open(request) for name in brands or closing.arrived}

    def total(
        self, manifest: RoundManifest, closing: Closing, replies: Mapping[str, RoundReply], answers: Iterable[str]
    ) -> NDArray[np.int64]:
        """Open a sum as the coordinator does."""
        assert manifest.secure_sum is not None
        signed = ADVERTISEMENTS.validate_json(self.share_request().advertisements)
        opener = Opener(scheme_of(self.agreed), [keys_of(one.body) for one in signed])
        request = opener.request(
            slot=manifest.secure_sum.slot,
            context=bytes.fromhex(manifest.digest()),
            present=frozenset(line.brand for line in manifest.participants),
            arrived=frozenset(closing.arrived),
        )
        masked: dict[str, Any] = {brand: replies[brand].total for brand in closing.arrived}
        words = [Signed[Unmasking].model_validate_json(text).body for text in answers]
        slot = manifest.secure_sum.slot
        return opener.open(request, masked, [opened_of(one, slot) for one in words], Ring(32))

    def released(self, total: NDArray[np.int64], **changes: Any) -> None:
        """Take the run a round further on an opened sum."""
        mechanism = self.solver.mechanism(self.state.marginals)
        before = arrays_digest(self.arrays())
        number = self.state.next_round
        self.state = self.solver.advance(self.state, mechanism.from_grid(total), 1.0)
        after = arrays_digest(self.solver.publish(self.state).to_arrays())
        word = Attestation(
            brand=self.brands[0],
            manifest="0" * 64,
            snapshot_root="0" * 64,
            payload="0" * 64,
            ledger_entry=1,
            epsilon_spent=1.0,
            noise="seeded",
        )
        values: dict[str, Any] = {
            "run_id": self.run_id,
            "round": number,
            "task": self.task.digest(),
            "purpose": self.task.purpose,
            "manifests": ("0" * 64,),
            "attestations": (Signed[Attestation].seal(word, self.coordinator),),
            "aggregate": "0" * 64,
            "model_before": before,
            "model_after": after,
            "state_after": "0" * 64,
            "epsilon_spent": 1.0,
        }
        release = RoundRelease.model_validate({**values, **changes})
        self.release = Signed[RoundRelease].seal(release, self.coordinator).model_dump_json()
        self.attempt = 0
        self.slot += 1

    def play(self, rounds: int = 1) -> None:
        """Take an honest run some rounds further, with everybody there."""
        for _ in range(rounds):
            manifest = self.manifest()
            replies = self.mask(manifest)
            closing = self.closing(manifest, self.brands)
            self.released(self.total(manifest, closing, replies, self.unmask(closing).values()))

    def restart(self, brand: str) -> None:
        """Start an agent anew on what it stored."""
        bench = self.agents[brand]
        bench.close()
        bench.agent = bench.assemble()

    def closed_copy(self, folder: Path) -> "SecureBench":
        """Return the town as it is now, on a copy of what this one, which is closed, has stored."""
        twin = copy.copy(self)
        twin.folder = folder
        twin.agents = {}
        for name, bench in self.agents.items():
            shutil.copytree(bench.folder, folder / name)
            twin.agents[name] = replace(bench, folder=folder / name, unspent=UnspentBox())
        return twin

    def close(self) -> None:
        for bench in self.agents.values():
            bench.close()


def keys_of(one: Advertisement) -> Keys:
    return Keys(
        one.brand,
        bytes.fromhex(one.box_key),
        tuple(bytes.fromhex(key) for key in one.slot_keys),
        tuple(bytes.fromhex(key) for key in one.commitments),
    )


def opened_of(one: Unmasking, slot: int) -> Opened:
    return Opened(
        one.brand,
        slot,
        {brand: bytes.fromhex(share) for brand, share in one.seeds.items()},
        {brand: bytes.fromhex(share) for brand, share in one.keys.items()},
    )
