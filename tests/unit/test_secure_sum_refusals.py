"""What a brand refuses to do for a coordinator that lies, and what is noticed of a brand that does."""

import hashlib
import secrets
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy.stats import chisquare, kstest
from secure_run import SecureRun, context_of, secure_run

from privacy.errors import SecureSumError, TamperedShareError, TooFewBrandsError
from privacy.secure_sum import Member, MemberState, Ring, Scheme, SealedShares, UnmaskRequest
from privacy.secure_sum.masks import Place, agree, mask
from privacy.secure_sum.scheme import largest_sum
from privacy.secure_sum.shamir import share, times

NAMES = tuple(f"brand-{number}" for number in range(5))


@pytest.fixture
def run() -> SecureRun:
    return secure_run(5, colluding=1, dropouts=1, slots=3)


def ones(run: SecureRun, *but: str) -> dict[str, np.ndarray]:
    return {name: np.ones(4, dtype=np.int64) for name in run.scheme.brands if name not in but}


def ask(run: SecureRun, arrived: set[str], missing: set[str], context: bytes | None = None) -> UnmaskRequest:
    return UnmaskRequest(0, context or context_of(0), frozenset(arrived), frozenset(missing))


@pytest.mark.parametrize(
    ("brands", "colluding", "dropouts", "holds"),
    [(3, 0, 1, True), (3, 1, 0, True), (3, 1, 1, False), (5, 1, 1, True), (5, 0, 3, False), (10, 2, 3, True)],
)
def test_a_threshold_over_half_of_brands_and_colluders_or_none(
    brands: int, colluding: int, dropouts: int, holds: bool
) -> None:
    names = tuple(f"brand-{number}" for number in range(brands))
    if holds:
        scheme = Scheme(bytes(32), names, colluding, dropouts, 1)
        assert 2 * (scheme.threshold - colluding) > brands - colluding
        assert scheme.threshold <= brands - dropouts
    else:
        with pytest.raises(SecureSumError, match="can not stand"):
            Scheme(bytes(32), names, colluding, dropouts, 1)


@pytest.mark.parametrize("names", [("a", "b"), ("a", "a", "b"), tuple(map(str, range(101)))])
def test_a_run_is_of_three_to_a_hundred_different_brands(names: tuple[str, ...]) -> None:
    with pytest.raises(SecureSumError):
        Scheme(bytes(32), names, 0, 0, 1)


def test_a_slot_is_masked_once_and_opened_once(run: SecureRun) -> None:
    member = run.members[NAMES[0]]
    run.masked(ones(run))
    with pytest.raises(SecureSumError, match="fresh"):
        run.masked(ones(run))
    with pytest.raises(SecureSumError, match="masked"):
        member.unmask(replace(run.request(run.brands), slot=1))
    member.unmask(run.request(run.brands))
    with pytest.raises(SecureSumError, match="opened"):
        member.unmask(run.request(run.brands - {NAMES[4]}))
    with pytest.raises(SecureSumError, match="no such slot"):
        member.unmask(replace(run.request(run.brands), slot=3))


def test_no_brand_answers_about_one_that_is_said_to_be_both(run: SecureRun) -> None:
    """Flower's SecAgg+ gives both shares of a node that is on both lists."""
    run.masked(ones(run))
    member = run.members[NAMES[0]]
    everyone, last = set(NAMES), {NAMES[4]}
    for arrived, missing in (
        (everyone, last),
        (everyone - last, set()),
        (everyone - last, {"stranger"}),
        (everyone | {"stranger"}, set()),
        (everyone - {NAMES[0]}, {NAMES[0]}),
    ):
        with pytest.raises(SecureSumError):
            member.unmask(ask(run, arrived, missing))
    with pytest.raises(TooFewBrandsError):
        member.unmask(ask(run, set(NAMES[:2]), set(NAMES[2:])))
    with pytest.raises(SecureSumError, match="another manifest"):
        member.unmask(ask(run, everyone, set(), hashlib.sha256(b"another").digest()))


def test_two_views_of_who_dropped_never_open_both_secrets_of_one_brand(run: SecureRun) -> None:
    """Every split of the honest brands between two stories, with one colluder that answers both."""
    victim, colluder, honest = NAMES[4], NAMES[3], NAMES[:3]
    for size in range(len(honest) + 1):
        for told in combinations(honest, size):
            seeds = len(told) + 1
            keys = len(honest) - len(told) + 1
            assert min(seeds, keys) < run.scheme.threshold, (victim, colluder)


def test_brands_that_are_shown_two_manifests_give_a_sum_of_noise(run: SecureRun) -> None:
    values = ones(run)
    masked = run.masked({name: values[name] for name in NAMES[:4]})
    masked |= run.masked({NAMES[4]: values[NAMES[4]]}, context=hashlib.sha256(b"another").digest())
    request = run.request(run.brands)
    answers = [run.members[name].unmask(request) for name in NAMES[:4]]
    opened = run.opener.open(request, masked, answers, Ring(32))
    assert np.all(np.abs(opened) > 2**8)


def test_a_run_needs_everybodys_shares_unaltered(run: SecureRun) -> None:
    members = {name: Member(run.scheme, name, secrets.token_bytes) for name in NAMES}
    advertised = [member.advertise() for member in members.values()]
    sealed = [one for member in members.values() for one in member.share(advertised)]
    mine = [one for one in sealed if one.receiver == NAMES[0]]
    target = members[NAMES[0]]
    for wrong in (mine[1:], [*mine, mine[0]], [*mine[1:], next(o for o in sealed if o.receiver == NAMES[1])]):
        with pytest.raises(SecureSumError):
            target.receive(wrong)
    altered = bytearray(mine[1].ciphertext)
    altered[7] ^= 1
    swapped = SealedShares(mine[2].sender, NAMES[0], mine[1].ciphertext)
    sent = next(one for one in sealed if (one.sender, one.receiver) == (NAMES[0], NAMES[1]))
    reflected = SealedShares(NAMES[1], NAMES[0], sent.ciphertext)
    for bad in (replace(mine[1], ciphertext=bytes(altered)), swapped, reflected):
        rest = [one for one in mine if one.sender != bad.sender]
        with pytest.raises(TamperedShareError):
            target.receive([bad, *rest])
    with pytest.raises(SecureSumError, match="not set up"):
        target.mask(np.ones(1, np.int64), slot=0, context=b"", ring=Ring(32), present=run.brands)
    with pytest.raises(SecureSumError):
        members[NAMES[1]].share(advertised[1:])
    with pytest.raises(SecureSumError):
        members[NAMES[1]].share([*advertised, advertised[0]])


def test_shares_that_do_not_lead_to_what_was_committed_to_are_noticed(run: SecureRun) -> None:
    masked = run.masked(ones(run, NAMES[4]))
    request = run.request(frozenset(NAMES[:4]))
    answers = [run.members[name].unmask(request) for name in NAMES[:4]]
    for kind, brand in (("seeds", NAMES[1]), ("keys", NAMES[4])):
        lied = dict(getattr(answers[0], kind)) | {brand: bytes(32)}
        with pytest.raises(TamperedShareError):
            run.opener.open(request, masked, [replace(answers[0], **{kind: lied}), *answers[1:]], Ring(32))
    assert run.opener.open(request, masked, answers, Ring(32)).tolist() == [4, 4, 4, 4]
    for vectors in ({NAMES[0]: masked[NAMES[0]]}, {**masked, NAMES[0]: masked[NAMES[0]][:2]}):
        with pytest.raises(SecureSumError, match="vectors"):
            run.opener.open(request, vectors, answers, Ring(32))


def test_no_sum_is_opened_of_fewer_brands_than_its_noise_is_dealt_out_for() -> None:
    """The threshold alone would allow four of seven; three shares of noise would be missing."""
    run = secure_run(7, dropouts=1)
    assert (run.scheme.threshold, run.scheme.quorum) == (4, 6)
    member, names = run.members["brand-0"], sorted(run.brands)
    run.masked({"brand-0": np.ones(2, dtype=np.int64)})
    for arrived in (5, 4):
        with pytest.raises(TooFewBrandsError, match="less noise"):
            member.unmask(ask(run, set(names[:arrived]), set(names[arrived:])))
        with pytest.raises(TooFewBrandsError):
            run.request(frozenset(names[:arrived]))
    assert len(member.unmask(ask(run, set(names[:6]), set(names[6:]))).seeds) == 6


def test_nothing_is_masked_for_fewer_brands_than_could_ever_open_it() -> None:
    run = secure_run(7, dropouts=1)
    terms = {"context": b"", "ring": Ring(32)}
    with pytest.raises(TooFewBrandsError, match="nothing leaves"):
        run.members["brand-0"].mask(
            np.ones(1, np.int64), slot=0, present=frozenset(run.scheme.brands[:5]), **terms
        )
    run.members["brand-0"].mask(np.ones(1, np.int64), slot=0, present=frozenset(run.scheme.brands[:6]), **terms)


def test_a_member_is_set_up_once() -> None:
    """Shares under other keys would be a second message under one nonce."""
    members = {name: Member(Scheme(bytes(32), NAMES, 1, 1, 1), name, secrets.token_bytes) for name in NAMES}
    advertised = [member.advertise() for member in members.values()]
    member = members[NAMES[0]]
    stranger = Member(Scheme(bytes(32), NAMES, 1, 1, 1), NAMES[0], secrets.token_bytes).advertise()
    with pytest.raises(SecureSumError, match="not what it advertised"):
        member.share([stranger, *advertised[1:]])
    sealed = [one for other in members.values() for one in other.share(advertised)]
    changed = replace(advertised[1], commitments=(bytes(32),))
    with pytest.raises(SecureSumError, match="advertised otherwise"):
        member.share([advertised[0], changed, *advertised[2:]])
    member.receive([one for one in sealed if one.receiver == NAMES[0]])
    other_keys = Member(Scheme(bytes(32), NAMES, 1, 1, 2), NAMES[0], secrets.token_bytes)
    with pytest.raises(SecureSumError, match="not of the run's length"):
        other_keys.share(advertised)


def test_other_shares_than_those_that_were_kept_are_refused(run: SecureRun) -> None:
    state = run.members[NAMES[0]].state()
    other = {**state.held, NAMES[1]: bytes(len(state.held[NAMES[1]]))}
    member = Member.restore(run.scheme, NAMES[0], state)
    with pytest.raises(SecureSumError, match="Other shares"):
        member._keep(other)
    assert member.state() == state


@pytest.mark.parametrize("stored", [b"", b"{}", b"[]", b"null", b'{"secret":"?","peers":[],"held":{}}'])
def test_a_state_that_can_not_be_read_is_refused(stored: bytes) -> None:
    with pytest.raises(SecureSumError, match="can not be read"):
        MemberState.from_bytes(stored)


def test_a_state_of_another_run_brand_or_length_is_refused(run: SecureRun) -> None:
    state = run.members[NAMES[0]].state()
    others: list[tuple[Scheme, str, MemberState]] = [
        (replace(run.scheme, run=b"\1" * 32), NAMES[0], state),
        (replace(run.scheme, slots=2), NAMES[0], state),
        (run.scheme, NAMES[1], state),
        (run.scheme, NAMES[0], replace(state, secret=bytes(32))),
        (run.scheme, NAMES[0], replace(state, secret=state.secret[:-1])),
        (run.scheme, NAMES[0], replace(state, peers=state.peers[1:])),
        (run.scheme, NAMES[0], replace(state, peers=())),
        (run.scheme, NAMES[0], replace(state, held={NAMES[0]: state.held[NAMES[0]]})),
        (run.scheme, NAMES[0], replace(state, held=dict.fromkeys(NAMES, b""))),
    ]
    for scheme, brand, other in others:
        with pytest.raises(SecureSumError):
            Member.restore(scheme, brand, other)
    assert Member.restore(run.scheme, NAMES[0], state).state() == state


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("value", [0, 1, -1, 2**30, -(2**31)])
def test_what_is_seen_of_one_brand_is_uniform_whatever_it_sums(bits: int, value: int) -> None:
    run = secure_run(3)
    vector = run.masked({"brand-0": np.full(100_000, value, dtype=np.int64)}, ring=Ring(bits))["brand-0"]
    for place, column in enumerate(vector.view(np.uint8).reshape(-1, bits // 8).T):
        assert chisquare(np.bincount(column, minlength=256)).pvalue > 1e-7, f"byte {place}"
    neighbours = vector.view(np.uint8)
    pairs = 16 * (neighbours[:-1] >> 4).astype(np.int64) + (neighbours[1:] >> 4)
    assert chisquare(np.bincount(pairs[::2], minlength=256)).pvalue > 1e-7


@pytest.mark.parametrize("missing", [0, 1])
def test_what_is_seen_of_one_brand_is_uniform_after_the_sum_was_opened_too(missing: int) -> None:
    """The coordinator takes every mask off that it has learned; those with other brands that arrived stay."""
    run = secure_run(5, dropouts=1)
    arrived = frozenset(run.scheme.brands[: 5 - missing])
    masked = run.masked({name: np.full(100_000, 9, dtype=np.int64) for name in arrived})
    request = run.request(arrived)
    answers = [run.members[name].unmask(request) for name in sorted(arrived)]
    seeds, keys = run.opener._secrets(request, answers)
    place = Place(run.scheme.run, 0, context_of(0), 100_000, Ring(32))
    stripped = masked["brand-0"] - mask(seeds["brand-0"], place)
    for key in keys.values():
        slot_key = run.members["brand-0"].advertise().slot_keys[0]
        stripped = stripped - mask(agree(X25519PrivateKey.from_private_bytes(key), slot_key), place)
    assert run.opener.open(request, masked, answers, Ring(32)).tolist() == [9 * len(arrived)] * 100_000
    assert chisquare(np.bincount(stripped.view(np.uint8), minlength=256)).pvalue > 1e-7
    assert kstest(stripped / 2**32, "uniform").pvalue > 1e-7


def test_what_the_coordinator_sees_of_one_brand_is_uniform() -> None:
    """And so is the difference of two brands, and of one brand's two slots."""
    run = secure_run(3, slots=2)
    constant = {name: np.full(200_000, 7, dtype=np.int64) for name in run.scheme.brands}
    first, second = run.masked(constant, slot=0), run.masked(constant, slot=1)
    seen = [first["brand-0"], first["brand-0"] - first["brand-1"], first["brand-0"] - second["brand-0"]]
    for vector in seen:
        counts = np.bincount(np.ascontiguousarray(vector).view(np.uint8), minlength=256)
        assert chisquare(counts).pvalue > 1e-6
        assert kstest(vector / 2**32, "uniform").pvalue > 1e-6


def test_a_mask_differs_with_every_part_of_its_place() -> None:
    place = Place(bytes(32), 0, bytes(32), 64, Ring(32))
    others = (
        replace(place, run=b"\1" * 32),
        replace(place, slot=1),
        replace(place, context=b"\1" * 32),
    )
    original = mask(b"s" * 32, place)
    assert np.array_equal(original, mask(b"s" * 32, place))
    for other in others:
        assert not np.any(original == mask(b"s" * 32, other))
    assert not np.any(original == mask(b"t" * 32, place))


def test_the_field_is_that_of_aes() -> None:
    """FIPS 197, section 4.2: by shifting and adding, and its own example, {57} times {83} is {c1}."""

    def product(one: int, other: int) -> int:
        total = 0
        while other:
            total ^= one * (other & 1)
            one = one << 1 ^ (0x11B if one & 0x80 else 0)
            other >>= 1
        return total

    everything = np.arange(256, dtype=np.uint8)
    for factor in range(256):
        assert times(everything, factor).tolist() == [product(value, factor) for value in range(256)]
    assert times(np.array([0x57], dtype=np.uint8), 0x83).tolist() == [0xC1]


def test_fewer_shares_than_the_threshold_say_nothing_about_a_secret() -> None:
    """Every byte is equally likely as a share of either of two secrets."""
    for secret in (0, 255):
        secrets_ = np.full(100_000, secret, dtype=np.uint8)
        one = share(secrets_, 2, [1, 2, 3], secrets.token_bytes)[0]
        assert chisquare(np.bincount(one, minlength=256)).pvalue > 1e-6


def test_the_ring_holds_what_a_sum_can_reach() -> None:
    largest = largest_sum(brands=5, bound=1_000, deviation=500.0, coordinates=10_000)
    assert 5_000 < largest < 5_000 + 500 * 10
    assert Ring.holding(2**31 - 1) == Ring(32)
    assert Ring.holding(2**31) == Ring(64)
    with pytest.raises(SecureSumError, match="63 bits"):
        Ring.holding(2**63)
    for bits in (32, 64):
        values = np.array([-(2 ** (bits - 1)), -1, 0, 2 ** (bits - 1) - 1], dtype=np.int64)
        assert np.array_equal(Ring(bits).out_of(Ring(bits).into(values)), values)
