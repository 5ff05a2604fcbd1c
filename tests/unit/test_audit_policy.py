"""Trust policies as C2SP tlog-policy writes them, and what they demand of a head."""

from collections.abc import Mapping

import pytest

from consent.contract import SigningKey
from consent.errors import PolicyError, QuorumError, SignatureError
from consent.log.mldsa import MldsaKey
from consent.log.note import COSIGNATURE, Checkpoint, Note, SignatureLine, cosign, sign_checkpoint, verifier_key
from consent.log.policy import Policy

ORIGIN = "log.example/consent"
LOG = SigningKey.generate()
KEYS = {name: SigningKey.generate() for name in ("X1", "X2", "X3", "Y1", "Y2")}
HEAD = Checkpoint(ORIGIN, 5, bytes(32))
VKEYS = {name: verifier_key(f"{name.lower()}.example", key, COSIGNATURE).encode() for name, key in KEYS.items()}
WITNESSES = "".join(f"witness {name} {vkey} https://w.example/{name}\n" for name, vkey in VKEYS.items())
LOG_LINE = f"log {verifier_key(ORIGIN, LOG).encode()} https://log.example\n"
NESTED = f"""# two organisations
{LOG_LINE}
{WITNESSES}\t group  X 2 X1 X2\tX3
group Y any Y1 Y2
group both all X Y
quorum both
"""


def head(times: Mapping[str, int]) -> Note:
    lines = [
        cosign(HEAD, name=f"{name.lower()}.example", key=KEYS[name], timestamp=time).encode()
        for name, time in times.items()
    ]
    return Note.parse(sign_checkpoint(HEAD, LOG) + "".join(lines))


@pytest.mark.parametrize(
    ("signed", "enough"),
    [
        ("X1 X2 Y1", True),
        ("X1 X3 Y1 Y2", True),
        ("X1 X2", False),
        ("X1 Y1 Y2", False),
        ("Y1 Y2", False),
        ("", False),
    ],
)
def test_nested_groups_count_their_members(signed: str, enough: bool) -> None:
    policy = Policy.parse(NESTED.encode())
    note = head(dict.fromkeys(signed.split(), 9))
    if enough:
        assert policy.require_quorum(note) == dict.fromkeys(signed.split(), 9)
    else:
        with pytest.raises(QuorumError):
            policy.require_quorum(note)


@pytest.mark.parametrize(("rule", "needed"), [("any", 1), ("2", 2), ("all", 3)])
def test_thresholds(rule: str, needed: int) -> None:
    policy = Policy.parse(f"{WITNESSES}group G {rule} X1 X2 X3\nquorum G\n".encode())
    for count in range(4):
        note = head(dict.fromkeys(["X1", "X2", "X3"][:count], 1))
        if count >= needed:
            policy.require_quorum(note)
        else:
            with pytest.raises(QuorumError):
                policy.require_quorum(note)


def test_no_quorum_and_a_single_witness() -> None:
    Policy.parse(b"quorum none\n").require_quorum(head({}))
    with pytest.raises(QuorumError):
        Policy.parse(f"{WITNESSES}quorum X1\n".encode()).require_quorum(head({"X2": 1}))


def test_one_witness_that_signs_twice_counts_once() -> None:
    policy = Policy.parse(f"{WITNESSES}group G 2 X1 X2\nquorum G\n".encode())
    twice = [cosign(HEAD, name="x1.example", key=KEYS["X1"], timestamp=time).encode() for time in (1, 2)]
    with pytest.raises(QuorumError):
        policy.require_quorum(Note.parse(sign_checkpoint(HEAD, LOG) + "".join(twice)))


def test_row_06_a_forged_line_of_a_listed_witness_refuses_the_whole_note() -> None:
    policy = Policy.parse(f"{WITNESSES}group G any X1 X2\nquorum G\n".encode())
    key_id = verifier_key("x2.example", KEYS["X2"], COSIGNATURE).key_id
    forged = SignatureLine("x2.example", key_id, bytes(72)).encode()
    good = head({"X1": 1})
    with pytest.raises(SignatureError):
        policy.require_quorum(Note.parse(good.encode() + forged))
    unknown = SignatureLine("x9.example", key_id, bytes(72)).encode()
    assert policy.require_quorum(Note.parse(good.encode() + unknown)) == {"X1": 1}


def test_row_04_a_frozen_view_is_seen_by_the_time_of_its_cosignatures() -> None:
    policy = Policy.parse(f"{WITNESSES}group G 2 X1 X2\nquorum G\n".encode())
    note = head({"X1": 1_000, "X2": 1_500})
    policy.require_quorum(note)
    policy.require_quorum(note, now=1_600, max_age=600)
    with pytest.raises(QuorumError, match="600 seconds"):
        policy.require_quorum(note, now=1_601, max_age=600)
    with pytest.raises(QuorumError):
        policy.require_quorum(note, now=1_469, max_age=600)


def test_a_witness_may_sign_with_mldsa() -> None:
    witness = verifier_key("pq.example", MldsaKey.from_seed(bytes(32)))
    policy = Policy.parse(f"witness pq {witness.encode()}\nquorum pq\n".encode())
    with pytest.raises(QuorumError):
        policy.require_quorum(head({}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        LOG_LINE,
        "quorum none\nquorum none\n",
        "quorum X1\n",
        f"{WITNESSES}group G 0 X1\nquorum G\n",
        f"{WITNESSES}group G 01 X1\nquorum G\n",
        f"{WITNESSES}group G 2 X1\nquorum G\n",
        f"{WITNESSES}group G any\nquorum G\n",
        f"{WITNESSES}group G any X1 X1\nquorum G\n",
        f"{WITNESSES}group G any X1\ngroup H any X1\nquorum G\n",
        f"{WITNESSES}group G any H\ngroup H any X1\nquorum G\n",
        f"{WITNESSES}group none any X1\nquorum none\n",
        f"{WITNESSES}group G any none\nquorum G\n",
        f"{WITNESSES}witness X1 {VKEYS['X1']}\nquorum none\n",
        f"{WITNESSES}witness again {VKEYS['X1']}\nquorum none\n",
        f"{LOG_LINE}{LOG_LINE}quorum none\n",
        f"log {VKEYS['X1']}\nquorum none\n",
        f"witness w {verifier_key(ORIGIN, LOG).encode()}\nquorum none\n",
        "log nonsense\nquorum none\n",
        "trust me\nquorum none\n",
        "quorum none\r\n",
        "quorum\u00a0none\n",
        "quorum none\x00\n",
    ],
    ids=range(23),
)
def test_what_is_not_a_policy_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(text.encode())


def test_names_are_octets() -> None:
    name = b"\xff\xfe"
    raw = b"witness " + name + b" " + VKEYS["X1"].encode() + b"\nquorum " + name + b"\n"
    with pytest.raises(QuorumError):
        Policy.parse(raw).require_quorum(head({}))
