"""The statement of everything about one customer, as data and as a page, with proofs that hold."""

import base64
import hashlib
import html
import json
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from rights_desk import CONTROLLER, PURPOSE, customer, hold_round

from consent import errors
from consent.contract import Act, Channel, Choice, Notice
from consent.log.commitments import Opening
from consent.log.merkle import leaf_hash, verify_inclusion
from consent.log.note import Note
from consent.rights import AccessRequest, AccessStatement
from consent.wire import GuardianRecord

ANN, BEN, EVE = (hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "ben", "eve"))
SCRIPT = "<script>alert(1)</script>\"' onmouseover=x {{ 7 * 7 }} {% raw %} </blockquote><img src=//evil.example>"


@pytest.fixture
def world(consent_worlds: Callable[..., Any], database_url: str) -> Any:
    world = consent_worlds(database_url=database_url)
    world.declare(PURPOSE)
    return world


def state(world: Any, subject: str = ANN, **fields: Any) -> AccessStatement:
    wanted = AccessRequest(brand="acme", subject=subject, **fields)
    found: AccessStatement = customer(world, subject).access(wanted)
    return found


def allowed(statement: AccessStatement) -> dict[str, bool]:
    return {line.purpose: line.allowed for line in statement.consents}


def test_it_tells_everything_with_the_whole_history(world: Any) -> None:
    acme = world.brand("acme")
    acme.record_controller("acme", CONTROLLER)
    world.record("acme", Act.GRANT, ANN, BEN, EVE)
    acme.record([Choice(brand="acme", subject=ANN, act=Act.GRANT, channel=Channel.SMS)], idempotency_key="sms")
    hold_round(world)
    hold_round(world, 1, release=False)
    world.record("acme", Act.WITHDRAW, ANN)
    acme.participation("acme", ANN)
    acme.appoint_guardian(
        GuardianRecord(brand="acme", subject=ANN, guardian=EVE, until=world.clock.now + timedelta(days=30))
    )
    told = state(world)
    assert [line.payload["kind"] for line in told.entries] == [
        "choice_recorded",
        "choice_recorded",
        "choice_recorded",
        "participation_read",
        "guardian_recorded",
        "choice_recorded",
        "subject_token_minted",
        "statement_given",
    ]
    assert (allowed(told), told.consents[0].reason) == ({PURPOSE: False}, "withdrawn")
    assert {line.channel: line.allowed for line in told.channels} == dict.fromkeys(Channel, False)
    assert (told.controller, told.guardian is not None) == (CONTROLLER, True)
    assert [(one.round.round, one.round.released, one.size_class) for one in told.rounds] == [
        (0, True, 2),
        (1, False, 2),
    ]
    first, second = told.rounds
    assert 0 < first.round.epsilon == first.round.epsilon_so_far < second.round.epsilon_so_far
    assert (first.release_index is not None, second.release_index) == (True, None)
    assert [notice.text for notice in told.notices] == [f"May we use your data for {PURPOSE}?"]


def test_every_line_has_a_proof_for_one_signed_head(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BEN, EVE)
    hold_round(world)
    told = state(world)
    head = Note.parse(told.checkpoint).checkpoint
    proofs = {proof.log_index: proof for proof in told.proofs}
    for proof in told.proofs:
        verify_inclusion(
            leaf=leaf_hash(base64.b64decode(proof.entry)),
            index=proof.log_index,
            size=head.size,
            proof=[base64.b64decode(node) for node in proof.path],
            root=head.root,
        )
    for entry in told.entries:
        opening = Opening.parse(entry.opening.encode())
        assert opening.opens(base64.b64decode(proofs[entry.log_index].entry))
        assert json.loads(opening.payload) == entry.payload
    (one,) = told.rounds
    assert {one.round.log_index, one.release_index} <= proofs.keys()


def test_what_was_true_at_an_earlier_moment(world: Any) -> None:
    world.clock.advance(-3_600)
    before = world.clock.now
    acme = world.brand("acme")
    world.record("acme", Act.GRANT, ANN)
    granted = world.clock.now
    world.record("acme", Act.WITHDRAW, BEN)
    acme.merge("acme", ANN, BEN)
    merged = world.clock.now
    world.clock.advance()
    acme.unmerge("acme", ANN, BEN)
    unmerged = world.clock.now
    world.clock.advance()
    world.officer.publish_notice(
        Notice(purpose=PURPOSE, language="en", text="May we share it?", replaces=world.notices[PURPOSE])
    )
    replaced = world.clock.now
    told = {}
    for at in (before, granted, merged, unmerged, replaced):
        moment = state(world, as_of=at).as_of
        assert moment is not None
        told[at] = (moment.consents[0].allowed, moment.consents[0].reason)
    assert list(told.values()) == [
        (False, "no_grant"),
        (True, "granted"),
        (False, "withdrawn"),
        (True, "granted"),
        (False, "notice_changed"),
    ]


def test_a_grant_that_ended_is_told_as_ended_from_then_on(world: Any) -> None:
    ends = world.clock.now + timedelta(hours=2)
    grant = world.choice("acme", ANN, Act.GRANT, expires_at=ends)
    world.brand("acme").record([grant], idempotency_key="short")
    for at, expected in ((ends - timedelta(seconds=1), "granted"), (ends, "expired")):
        moment = state(world, as_of=at).as_of
        assert moment is not None
        assert moment.consents[0].reason == expected


def test_merged_pseudonyms_are_told_together(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BEN, EVE)
    hold_round(world)
    world.brand("acme").merge("acme", ANN, BEN)
    told = state(world)
    assert told.merged_with == (BEN,)
    assert {one.subject for one in told.rounds} == {ANN, BEN}
    assert {line.payload["subject"] for line in told.entries} == {ANN, BEN}


@pytest.mark.parametrize("first", [True, False], ids=["denying half first", "granting half first"])
def test_rounds_while_merged_with_a_half_that_said_no_did_not_use_the_customer(world: Any, first: bool) -> None:
    acme = world.brand("acme")
    world.record("acme", Act.GRANT, ANN, BEN, EVE)
    no = hashlib.sha256(b"no").hexdigest()
    world.record("acme", Act.WITHDRAW, no)
    hold_round(world)
    acme.merge("acme", *((no, ANN) if first else (ANN, no)))
    hold_round(world, 1)
    acme.unmerge("acme", ANN, no)
    hold_round(world, 2)
    assert [one.round for one in acme.participation("acme", ANN)] == [0, 2]
    assert [one.round for one in acme.participation("acme", BEN)] == [0, 1, 2]
    assert acme.participation("acme", no) == ()


def test_rounds_after_a_grant_ended_did_not_use_the_customer(world: Any) -> None:
    world.record("acme", Act.GRANT, BEN, EVE)
    ends = world.clock.now + timedelta(days=2)
    grant = world.choice("acme", ANN, Act.GRANT, expires_at=ends)
    world.brand("acme").record([grant], idempotency_key="short")
    hold_round(world)
    world.clock.advance(2 * 86_400)
    hold_round(world, 1)
    assert [one.round for one in world.brand("acme").participation("acme", ANN)] == [0]


def test_somebody_unknown_gets_a_statement_of_nothing(world: Any) -> None:
    told = state(world, EVE)
    assert (allowed(told), told.rounds, told.entries) == ({PURPOSE: False}, (), ())


def test_it_says_what_remains_and_claims_no_more(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    told = state(world)
    said = " ".join((*told.after_withdrawal, *told.after_erasure, told.remedy, told.decisions))
    for kept in ("It is not claimed that a model forgets you", "leaves", "Backups", "neither the questions"):
        assert kept in said.replace("Hashes in the log", "leaves")


def test_it_is_given_while_the_log_can_not_be_published(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that is down keeps no customer from their data; what has no proof yet is there without one."""
    world.record("acme", Act.GRANT, ANN)

    def fail() -> None:
        raise errors.QuorumError("Too few witnesses.")

    own = customer(world, ANN)
    monkeypatch.setattr("consent.service.work.Workplace.publish_now", lambda _: fail())
    monkeypatch.setattr(world.app.state.workplace._publishing, "appended", lambda: None)
    told = own.access(AccessRequest(brand="acme", subject=ANN))
    given = told.entries[-1].log_index
    assert given not in {proof.log_index for proof in told.proofs}
    assert {entry.log_index for entry in told.entries[:-1]} <= {proof.log_index for proof in told.proofs}
    assert "ask again later" in own.access_page(AccessRequest(brand="acme", subject=ANN))


class Page(HTMLParser):
    """Collects what a page would load, run or leave open."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.crossed: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.crossed.append(tag)


def test_row_19_the_page_escapes_everything_and_loads_nothing(world: Any) -> None:
    evil = CONTROLLER.model_copy(update={"name": SCRIPT, "recipients": (SCRIPT,)})
    world.brand("acme").record_controller("acme", evil)
    world.notices[PURPOSE] = world.operator.publish_notice(Notice(purpose=PURPOSE, language="en", text=SCRIPT))
    world.record("acme", Act.GRANT, ANN, BEN)
    hold_round(world)
    page = customer(world, ANN).access_page(AccessRequest(brand="acme", subject=ANN, as_of=world.clock.now))
    parsed = Page(page)
    assert (parsed.stack, parsed.crossed) == ([], [])
    assert not {tag for tag, _ in parsed.tags} & {"script", "img", "link", "iframe", "object", "form", "base", "a"}
    assert not {name for _, attrs in parsed.tags for name in attrs if name.startswith("on")}
    assert not {name for _, attrs in parsed.tags for name in attrs} & {"src", "href", "style"}
    assert "url(" not in page
    assert SCRIPT not in page
    assert page.count(html.escape(SCRIPT, quote=False).split("&quot;")[0].split('"')[0]) >= 3
    assert "49" not in page.partition("<blockquote")[2].partition("</blockquote>")[0]


def test_the_page_can_be_read_without_seeing_it(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN, BEN)
    hold_round(world)
    parsed = Page(customer(world, ANN).access_page(AccessRequest(brand="acme", subject=ANN)))
    tags = [tag for tag, _ in parsed.tags]
    assert dict(parsed.tags)["html"] == {"lang": "en"}
    assert (tags.count("h1"), tags.count("main"), tags.count("title")) == (1, 1, 1)
    assert tags.count("caption") == tags.count("table") > 0
    assert all(attrs.get("scope") in {"row", "col"} for tag, attrs in parsed.tags if tag == "th")


def test_the_page_forbids_what_it_does_not_need(world: Any) -> None:
    world.record("acme", Act.GRANT, ANN)
    own = customer(world, ANN)
    body = AccessRequest(brand="acme", subject=ANN).model_dump(mode="json")
    response = world.http.post("/v1/subjects/access/page", json=body, headers=own._headers)
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert (response.headers["cache-control"], response.headers["x-content-type-options"]) == (
        "no-store",
        "nosniff",
    )
