"""What the coordinator takes under the secure sum: exactly what it asked for, and what it keeps to go on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from masking_bench import BRANDS, SOLVER, MaskingBench

from consent.contract import Signed, Unmasking, wire
from server.errors import ReplyRefusedError, RoundIncompleteError
from server.mail import Reply, content_of
from server.masked_sums import Attempt, Closed, SecureProtocol


@pytest.fixture
def bench(tmp_path: Path) -> MaskingBench:
    return MaskingBench(tmp_path / "run")


def half_done(bench: MaskingBench) -> tuple[SecureProtocol, Closed]:
    """Return a protocol and its first round, closed and not yet opened."""
    bench.lost = lambda reply, brand: reply.metadata.message_type == wire.OPEN_MESSAGE
    with pytest.raises(RoundIncompleteError):
        bench.run()
    return bench.protocol(), Closed.from_bytes((bench.folder / "closed-0000.npz").read_bytes())


def reply(brand: str, texts: dict[str, str], masked: Any = None) -> Reply:
    content = content_of(texts)
    if masked is not None:
        content[wire.ARRAYS] = ArrayRecord({wire.SUM: Array(masked)})
    return Reply(brand, content)


def masked_reply(
    bench: MaskingBench, kept: Closed, *, speaker: str = "ant", masked: Any = None, **changes: Any
) -> Reply:
    """Return what ant's node could pass on: its masked sum with a word in which something is changed."""
    arrived = kept.attempt.arrivals["ant"].masked
    word = bench.agents[speaker].attest(kept.attempt.manifest.body, arrived, **changes)
    return reply("ant", {wire.ATTESTATION: word.model_dump_json()}, arrived if masked is None else masked)


SUMS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "of another manifest, run or slot": ({"manifest": "ab" * 32}, "did not ask it"),
    "of another snapshot": ({"snapshot_root": "ab" * 32}, "another snapshot"),
    "of another brand": ({"speaker": "bee"}, "passed on what another brand attests"),
    "in another brand's name": ({"brand": "bee"}, "signed by a key that is not enrolled"),
    "of a brand outside the run": ({"brand": "fox"}, "not part of this run"),
    "not the attested one": ({"masked": np.zeros(SOLVER.marginals_length, dtype=np.uint32)}, "another sum"),
    "too short": ({"masked": np.zeros(3, dtype=np.uint32)}, "another form"),
    "in another ring": ({"masked": np.zeros(SOLVER.marginals_length, dtype=np.uint64)}, "another form"),
    "in the clear": ({"masked": np.zeros(SOLVER.marginals_length, dtype=np.int64)}, "another form"),
}


@pytest.mark.parametrize("case", SUMS_REFUSED)
def test_a_sum_is_refused_when_it_is(case: str, bench: MaskingBench) -> None:
    protocol, kept = half_done(bench)
    changes, words = SUMS_REFUSED[case]
    with pytest.raises(ReplyRefusedError, match=words):
        protocol.arrived(SOLVER.start(), kept.attempt, masked_reply(bench, kept, **dict(changes)))
    fresh = Attempt(kept.attempt.manifest, {})
    assert set(protocol.arrived(SOLVER.start(), fresh, masked_reply(bench, kept)).arrivals) == {"ant"}


def test_a_sum_that_is_not_there_is_refused(bench: MaskingBench) -> None:
    protocol, kept = half_done(bench)
    word = kept.attempt.arrivals["ant"].attestation.model_dump_json()
    for texts, words in (({}, "carries no attestation"), ({wire.ATTESTATION: word}, "carries no sum")):
        with pytest.raises(ReplyRefusedError, match=words):
            protocol.arrived(SOLVER.start(), kept.attempt, reply("ant", texts))


HELP_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "of another attempt": ({"manifest": "ab" * 32}, "another round or attempt"),
    "of another closing": ({"closing": "ab" * 32}, "another round or attempt"),
    "for fewer brands": ({"seeds": {"ant": "ab" * 32}}, "exactly the round's brands"),
    "for keys of those who arrived": ({"keys": {"ant": "ab" * 32}}, "exactly the round's brands"),
    "of a brand outside the run": ({"brand": "fox"}, "not part of this run"),
    "in another brand's name": ({"brand": "bee"}, "signed by a key that is not enrolled"),
}


@pytest.mark.parametrize("case", HELP_REFUSED)
def test_shares_are_refused_when_they_are(case: str, bench: MaskingBench) -> None:
    protocol, kept = half_done(bench)
    closing = kept.closing.body
    changes, words = HELP_REFUSED[case]
    honest = {
        "brand": "ant",
        "manifest": closing.manifest,
        "closing": closing.digest(),
        "seeds": dict.fromkeys(BRANDS, "00" * 32),
        "keys": {},
    }
    key = bench.agents["ant"].key

    def said(**changed: Any) -> Reply:
        word = Signed[Unmasking].seal(Unmasking(**{**honest, **changed}), key)
        return reply("ant", {wire.UNMASKING: word.model_dump_json()})

    with pytest.raises(ReplyRefusedError, match=words):
        protocol.helped(kept, said(**changes))
    assert set(protocol.helped(kept, said()).unmaskings) == {"ant"}
    with pytest.raises(ReplyRefusedError, match="another brand was asked for"):
        protocol.helped(kept, Reply("bee", said().content))
    with pytest.raises(ReplyRefusedError, match="carries no unmasking"):
        protocol.helped(kept, reply("ant", {}))


def test_what_is_kept_of_a_closed_round_is_what_was_there(bench: MaskingBench) -> None:
    _, kept = half_done(bench)
    again = Closed.from_bytes(kept.to_bytes())
    assert again.closing == kept.closing == bench.service.closings[0]
    assert again.attempt.manifest == kept.attempt.manifest
    for brand in BRANDS:
        np.testing.assert_array_equal(again.attempt.arrivals[brand].masked, kept.attempt.arrivals[brand].masked)
