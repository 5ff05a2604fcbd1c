"""Signed values survive the wire unchanged, and nothing else passes for them."""

import base64
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consent.contract import (
    Attestation,
    CategoricalFeature,
    ContractModel,
    Label,
    Mechanism,
    NumericFeature,
    Participant,
    Phase,
    PrivacyTarget,
    RoundManifest,
    RoundRelease,
    Signed,
    SigningKey,
    SnapshotHead,
    SolverSettings,
    TaskSpec,
)
from consent.errors import SignatureError

KEY, OTHER = SigningKey.from_private_bytes(b"k" * 32), SigningKey.from_private_bytes(b"o" * 32)

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 2**53 - 1)
EPSILONS = st.floats(0, 100)
POSITIVE = st.floats(1e-300, 1e300)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)

NUMERIC = st.builds(
    lambda name, bounds, scale: NumericFeature(name=name, lower=min(bounds), upper=max(bounds), scale=scale),
    TEXTS,
    st.sets(st.floats(-1e6, 1e6), min_size=2, max_size=2),
    st.sampled_from(["linear", "log"]),
)
LEVELS = st.builds(
    lambda name, levels: CategoricalFeature(name=name, levels=tuple(levels)),
    TEXTS,
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=5, unique=True),
)
TASKS = st.builds(
    TaskSpec,
    task_id=NAMES,
    purpose=NAMES,
    features=st.lists(NUMERIC | LEVELS, min_size=1, max_size=4, unique_by=lambda one: one.name).map(tuple),
    label=st.builds(Label, name=TEXTS, horizon_days=st.integers(0, 3650)),
    privacy=st.builds(
        PrivacyTarget,
        epsilon=st.floats(1e-3, 16),
        delta=st.floats(1e-12, 9e-4),
        trust_mode=st.sampled_from(["local", "distributed"]),
        max_brands_per_customer=st.integers(1, 16),
    ),
    solver=st.builds(SolverSettings, rounds=st.integers(1, 500), clip_norm=st.floats(0.01, 100)),
    minimum_cohort=st.integers(2, 10**6),
)
HEADS = st.builds(
    SnapshotHead,
    brand=NAMES,
    purpose=NAMES,
    root=DIGESTS,
    size_class=COUNTS,
    log_size=COUNTS,
    sealed_at=TIMES,
    not_after=TIMES,
)
MANIFESTS = st.builds(
    RoundManifest,
    run_id=NAMES,
    round=COUNTS,
    attempt=COUNTS,
    task=DIGESTS,
    purpose=NAMES,
    phase=st.sampled_from(Phase),
    model=DIGESTS,
    mechanism=st.builds(Mechanism, sensitivity=POSITIVE, noise_multiplier=POSITIVE, grid=POSITIVE),
    participants=st.lists(
        st.builds(
            lambda brand, head: Participant(
                brand=brand, key=OTHER.public_key, snapshot=Signed[SnapshotHead].seal(head, OTHER)
            ),
            NAMES,
            HEADS,
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    epsilon_before=EPSILONS,
    epsilon_after=EPSILONS,
    opened_at=TIMES,
    not_after=TIMES,
)
ATTESTATIONS = st.builds(
    Attestation,
    brand=NAMES,
    manifest=DIGESTS,
    snapshot_root=DIGESTS,
    payload=DIGESTS,
    ledger_entry=st.integers(1, 2**53 - 1),
    epsilon_spent=EPSILONS,
    noise=st.sampled_from(["system", "seeded"]),
)
RELEASES = st.builds(
    RoundRelease,
    run_id=NAMES,
    round=COUNTS,
    task=DIGESTS,
    purpose=NAMES,
    manifests=st.lists(DIGESTS, min_size=1, max_size=3).map(tuple),
    attestations=st.lists(
        ATTESTATIONS.map(lambda word: Signed[Attestation].seal(word, OTHER)), min_size=1, max_size=2
    ).map(tuple),
    aggregate=DIGESTS,
    model_before=DIGESTS,
    model_after=DIGESTS,
    state_after=DIGESTS,
    epsilon_spent=EPSILONS,
)
VALUES = TASKS | HEADS | MANIFESTS | ATTESTATIONS | RELEASES

SNAPSHOT = SnapshotHead(
    brand="ant",
    purpose="conversion",
    root="0" * 64,
    size_class=1,
    log_size=1,
    sealed_at=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2026, 1, 2, tzinfo=UTC),
)

Path = tuple[str | int, ...]


def seal(value: ContractModel, key: SigningKey = KEY) -> Signed[Any]:
    signed: Signed[Any] = Signed[type(value)].seal(value, key)  # type: ignore[misc]
    return signed


def leaves(document: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the place of every string, number and empty container in a JSON document."""
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    found = False
    for key, child in children:
        found = True
        yield from leaves(child, (*path, key))
    if not found:
        yield path


def get(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def changed(document: Any, path: Path, value: Any) -> Any:
    result = copy.deepcopy(document)
    get(result, path[:-1])[path[-1]] = value
    return result


def other_values(value: Any) -> list[Any]:
    """Return values of the same kind, some of which a field may even take."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 0 if value else 7]
    if isinstance(value, float):
        return [value * (1 + 2**-40), value + 1.0]
    if not value:
        return [["x"], "x"]
    flipped = value[:-1] + ("0" if value[-1] != "0" else "1")
    known = ["linear", "log", "local", "distributed", "marginals", "gradient", "system", "seeded"]
    return [flipped, "1" + value[1:], value.replace("20", "21", 1), *known]


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_a_value_survives_the_wire(value: ContractModel) -> None:
    signed = seal(value)
    received = type(signed).model_validate_json(signed.model_dump_json())
    assert received.verify(KEY.public_key) == value
    assert received.body.canonical_bytes() == value.canonical_bytes()
    respaced = json.dumps(json.loads(signed.model_dump_json()), indent=3, sort_keys=True)
    assert type(signed).model_validate_json(respaced).verify(KEY.public_key) == value


@given(VALUES, st.data())
@settings(max_examples=60, deadline=None)
def test_no_field_can_be_changed(value: ContractModel, data: st.DataObject) -> None:
    signed = seal(value)
    document = json.loads(signed.model_dump_json())
    path = data.draw(st.sampled_from(list(leaves(document))))
    original = get(document, path)
    for other in other_values(original):
        if other == original:
            continue
        try:
            forged = type(signed).model_validate_json(json.dumps(changed(document, path, other)))
        except ValidationError:
            continue
        if forged == signed:
            continue
        with pytest.raises((SignatureError, ValueError)):
            forged.verify(KEY.public_key)


@given(VALUES, st.data())
@settings(max_examples=40, deadline=None)
def test_unknown_and_missing_fields_are_refused_at_every_depth(value: ContractModel, data: st.DataObject) -> None:
    document = json.loads(value.model_dump_json())
    objects = {path[:depth] for path in leaves(document) for depth in range(len(path))}
    place = data.draw(
        st.sampled_from(sorted((one for one in objects if isinstance(get(document, one), dict)), key=str))
    )
    wider = copy.deepcopy(document)
    get(wider, place)["unheard_of"] = 1
    with pytest.raises(ValidationError, match="unheard_of"):
        type(value).model_validate_json(json.dumps(wider))


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_a_signature_holds_for_one_kind_of_value_only(value: ContractModel) -> None:
    twin = type("Twin", (type(value),), {})
    signed = seal(value)
    forged = Signed[twin].model_validate_json(signed.model_dump_json())  # type: ignore[valid-type]
    assert forged.body.canonical_bytes() == value.canonical_bytes()
    with pytest.raises(SignatureError, match="does not fit its bytes"):
        forged.verify(KEY.public_key)


@given(VALUES)
@settings(max_examples=20, deadline=None)
def test_another_key_is_not_the_enrolled_one(value: ContractModel) -> None:
    with pytest.raises(SignatureError, match="not enrolled"):
        seal(value, OTHER).verify(KEY.public_key)
    claimed = seal(value, OTHER).model_copy(update={"signer": KEY.public_key})
    with pytest.raises(SignatureError, match="does not fit its bytes"):
        claimed.verify(KEY.public_key)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        Mechanism(sensitivity=number, noise_multiplier=1.0, grid=1.0)


@pytest.mark.parametrize("name", ["", "Ant", "a b", "-ant", "ant-", "a" * 65, "../ant", "ant\n", "änt"])
def test_names_that_could_be_taken_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Participant(brand=name, key=KEY.public_key, snapshot=seal(SNAPSHOT))


def test_a_signature_and_a_key_have_one_spelling() -> None:
    """The last base64 digit carries unused bits, which must be zero."""
    document = json.loads(seal(SNAPSHOT).model_dump_json())
    for field, position in (("signature", 85), ("signer", 42)):
        text = document[field]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        respelled = text[:position] + alphabet[alphabet.index(text[position]) + 1] + text[position + 1 :]
        assert base64.b64decode(respelled) == base64.b64decode(text)
        with pytest.raises(ValidationError):
            Signed[SnapshotHead].model_validate_json(json.dumps({**document, field: respelled}))
