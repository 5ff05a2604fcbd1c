"""What a secure sum costs in one process, and what Flower's own simulation costs beside the in-process grid."""

import hashlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.discrete_gaussian import DiscreteGaussian
from privacy.secure_sum import Member, Opener, Ring, Scheme
from simulations.bench.records import Record, at_most, spread

REPETITIONS = 5
DEVIATION = 2**20
"""Of a brand's share of noise, in grid steps: about that of a gradient round."""
FLOWER_SECONDS = 600
RAY = Path(__file__).parent / "flower_with_ray.py"


@dataclass(frozen=True)
class Case:
    """A secure sum to measure; `most` is its target in milliseconds a round, None where none is stated."""

    brands: int
    dropouts: int
    parameters: int
    most: float | None

    @property
    def name(self) -> str:
        """The record's name."""
        missing = f"_{self.dropouts}_missing" if self.dropouts else ""
        return f"secure_sum.{self.brands}_brands{missing}_{self.parameters}_parameters"


CASES = (
    Case(brands=5, dropouts=0, parameters=1_000, most=10.0),
    Case(brands=5, dropouts=1, parameters=1_000, most=None),
    Case(brands=5, dropouts=0, parameters=1_000_000, most=400.0),
    Case(brands=50, dropouts=0, parameters=1_000, most=None),
    Case(brands=50, dropouts=10, parameters=1_000, most=None),
)


class SecureRounds:
    """A run of a secure sum whose rounds can be timed.

    Args:
        case: how large it is.
        rounds: how many rounds it prepares for.
    """

    def __init__(self, case: Case, rounds: int) -> None:
        self._case = case
        names = tuple(f"brand-{number:02}" for number in range(case.brands))
        run = hashlib.sha256(case.name.encode()).digest()
        self._scheme = Scheme(run, names, 1, case.dropouts, rounds)
        self._members = {name: Member(self._scheme, name, secrets.token_bytes) for name in names}
        advertised = [member.advertise() for member in self._members.values()]
        sealed = [share for member in self._members.values() for share in member.share(advertised)]
        for name, member in self._members.items():
            member.receive([share for share in sealed if share.receiver == name])
        self._opener = Opener(self._scheme, advertised)
        self._values = np.random.default_rng(0).integers(-(2**40), 2**40, size=case.parameters)

    def round(self, slot: int, *, noise: bool) -> None:
        """Mask every brand's vector, with or without its noise, and open the sum over those who arrived.

        Raises:
            RuntimeError: the sum is not the plain one.
        """
        context = hashlib.sha256(slot.to_bytes(4, "big")).digest()
        present, ring = frozenset(self._scheme.brands), Ring(64)
        shares = DiscreteGaussian(DEVIATION**2)
        masked: dict[str, NDArray[np.unsignedinteger[Any]]] = {}
        expected = np.zeros(self._case.parameters, dtype=np.int64)
        for name, member in self._members.items():
            drawn = shares.draw(self._values.size, secrets.token_bytes) if noise else 0
            own = self._values + drawn
            sent = member.mask(own, slot=slot, context=context, ring=ring, present=present)
            if len(masked) < self._case.brands - self._case.dropouts:
                masked[name] = sent
                expected += own
        arrived = frozenset(masked)
        request = self._opener.request(slot=slot, context=context, present=present, arrived=arrived)
        helpers = sorted(arrived)[: self._scheme.threshold]
        answers = [self._members[name].unmask(request) for name in helpers]
        if not np.array_equal(self._opener.open(request, masked, answers, ring), expected):
            raise RuntimeError("The secure sum is not the plain sum.")


def secure_sums() -> list[Record]:
    """Measure a round of each case: masking at every brand, help and opening, all in one thread."""
    return [record for case in CASES for record in _measure(case)]


def _measure(case: Case) -> list[Record]:
    began = time.perf_counter()
    rounds = SecureRounds(case, 2 * REPETITIONS + 1)
    setup = 1000 * (time.perf_counter() - began)
    rounds.round(0, noise=False)
    bare = [_timed(rounds, slot, noise=False) for slot in range(1, REPETITIONS + 1)]
    noised = [_timed(rounds, REPETITIONS + slot, noise=True) for slot in range(1, REPETITIONS + 1)]
    what = (
        f"{case.brands} brands, {case.dropouts} of them missing, {case.parameters} parameters, all in one process"
    )
    how = (
        f"{what}: masking, help and opening, {spread(bare)} ms; with every brand's discrete Gaussian "
        f"{spread(noised)} ms; the setup for {2 * REPETITIONS + 1} slots took {setup:.4g} ms once"
    )
    middle = statistics.median(bare)
    noise = Record(f"{case.name}.with_noise", statistics.median(noised), "ms", None, None, how)
    if case.most is None:
        return [Record(case.name, middle, "ms", None, None, how), noise]
    return [at_most(case.name, middle, "ms", case.most, how), noise]


def _timed(rounds: SecureRounds, slot: int, *, noise: bool) -> float:
    began = time.perf_counter()
    rounds.round(slot, noise=noise)
    return 1000 * (time.perf_counter() - began)


def flower_with_ray(nodes: int) -> tuple[list[Record], str]:
    """Measure the same round in Flower's own simulation, in a process of its own, and say what was found.

    The interpreter is that of CONFIDE_RAY_PYTHON, as ray is best kept in an environment of its own.
    """
    python = os.environ.get("CONFIDE_RAY_PYTHON", sys.executable)
    has_ray = subprocess.run([python, "-c", "import ray"], capture_output=True, check=False)  # noqa: S603
    if has_ray.returncode != 0:
        return (
            [],
            "Flower with ray was not measured beside it: CONFIDE_RAY_PYTHON names no interpreter that has ray",
        )
    command = [python, str(RAY), str(nodes), str(REPETITIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=FLOWER_SECONDS)  # noqa: S603
    found = json.loads(done.stdout.splitlines()[-1])
    how = (
        f"Flower's simulation with ray, {nodes} clients that echo 64 floats; rounds: {spread(found['rounds'])} ms"
    )
    middle = statistics.median(found["rounds"])
    records = [
        Record(f"flower_with_ray.round_of_{nodes}_noop_clients", middle, "ms", None, None, how),
        Record(f"flower_with_ray.start_of_{nodes}_clients", found["start"], "ms", None, None, how),
    ]
    return records, f"Flower with ray beside it: {middle:.4g} ms"
