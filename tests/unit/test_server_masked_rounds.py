"""Rounds under the secure sum at the coordinator: what is summed, who may be missing, what is refused, resumed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from masking_bench import (
    BRANDS,
    FEWEST,
    SOLVER,
    TASK,
    THRESHOLD,
    MaskingAgent,
    MaskingBench,
    StaleError,
    noised,
    plain,
)
from masking_checks import ROUNDS, abandoned, asked, check_sums, closed

from consent.contract import Closing, RoundManifest, Unmasking, wire
from server import coordinator
from server.errors import (
    RoundIncompleteError,
    SetupIncompleteError,
    SumRefusedError,
)

EVERYONE = tuple(BRANDS)


@pytest.fixture
def bench(tmp_path: Path) -> MaskingBench:
    return MaskingBench(tmp_path / "run")


@pytest.mark.parametrize("values", [plain, noised])
def test_an_undisturbed_run_releases_the_sum_of_all_and_delivers(values: Any, tmp_path: Path) -> None:
    bench = MaskingBench(tmp_path, values=values)
    bench.run()
    check_sums(bench)
    assert asked(bench) == [(number, 0, number, EVERYONE) for number in ROUNDS]
    assert closed(bench) == [(EVERYONE, ())] * len(ROUNDS)
    assert abandoned(bench) == []
    assert [agent.models for agent in bench.agents.values()] == [1] * len(BRANDS)
    assert {one.mechanism.name for one in bench.watcher.manifests} == {"discrete_gaussian"}
    last = bench.service.releases[-1].body
    assert last.epsilon_spent == pytest.approx(TASK.privacy.epsilon, rel=1e-9)
    setup = bench.service.setups[0].verify(bench.key.public_key)
    assert (setup.dropouts, setup.colluders, setup.brands[0].brand) == (1, 1, "ant")


def test_a_brand_is_sent_the_release_before_and_the_same_setup_counts_all_run(bench: MaskingBench) -> None:
    bench.run()
    releases = ["", *(one.model_dump_json() for one in bench.service.releases[:-1])]
    assert bench.agents["bee"].released_before == releases
    assert bench.sent["query.setup"] == bench.sent["query.share"] == bench.sent["query.keep"] == len(BRANDS)


def test_a_brand_that_is_away_is_not_asked_and_comes_back(bench: MaskingBench) -> None:
    away = {"eel": {1}}

    def lose(reply: Message, brand: str) -> bool:
        hidden = bool(bench.service.releases) and bench.service.releases[-1].body.round + 1 in away.get(
            brand, set()
        )
        return hidden and reply.metadata.message_type in {wire.HELLO_MESSAGE, wire.ROUND_MESSAGE}

    bench.lost = lose
    bench.run()
    check_sums(bench)
    assert closed(bench) == [(EVERYONE, ()), (EVERYONE[:-1], ("eel",)), (EVERYONE, ())]
    assert [one.body.noise_shares for one in bench.service.releases] == [5 / FEWEST, 4 / FEWEST, 5 / FEWEST]


def test_a_brand_that_is_known_to_be_away_is_left_out_of_the_manifest(bench: MaskingBench) -> None:
    def stop_after_setup(manifest: RoundManifest) -> None:
        raise KeyboardInterrupt

    bench.watcher.on_opened = stop_after_setup
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    bench.watcher.on_opened = lambda _manifest: None
    bench.connected.remove("cat")
    bench.run()
    check_sums(bench)
    others = tuple(brand for brand in BRANDS if brand != "cat")
    assert asked(bench) == [(0, 0, 0, EVERYONE), (1, 0, 1, others), (2, 0, 2, others)]
    assert closed(bench) == [(others, ("cat",)), (others, ()), (others, ())]


@pytest.mark.parametrize("lost", BRANDS)
def test_a_sum_that_is_lost_on_its_way_is_left_out_and_the_noise_said(lost: str, bench: MaskingBench) -> None:
    bench.lost = lambda reply, brand: brand == lost and reply.metadata.message_type == wire.ROUND_MESSAGE
    bench.run()
    check_sums(bench)
    others = tuple(brand for brand in BRANDS if brand != lost)
    assert closed(bench) == [(others, (lost,))] * len(ROUNDS)
    assert abandoned(bench) == []


def test_a_brand_that_fails_after_the_closing_is_not_needed_to_open(bench: MaskingBench) -> None:
    bench.lost = lambda reply, brand: brand == "ant" and reply.metadata.message_type == wire.OPEN_MESSAGE
    bench.run()
    check_sums(bench)
    assert closed(bench) == [(EVERYONE, ())] * len(ROUNDS)


def test_too_few_helpers_stop_the_run_and_the_same_closing_is_opened_later(bench: MaskingBench) -> None:
    silent = {"ant", "bee"}
    bench.lost = lambda reply, brand: brand in silent and reply.metadata.message_type == wire.OPEN_MESSAGE
    with pytest.raises(RoundIncompleteError, match=r"3 brands helped, 4 are needed \(ant: no answer; bee"):
        bench.run()
    assert len(bench.service.closings) == 1
    assert bench.service.releases == []
    silent.clear()
    bench.run()
    check_sums(bench)
    assert asked(bench)[0] == (0, 0, 0, EVERYONE)
    assert [one for one in asked(bench) if one[0] == 0] == [(0, 0, 0, EVERYONE)]


def test_too_few_sums_are_abandoned_and_asked_for_again_in_a_new_slot(bench: MaskingBench) -> None:
    silent = {"left": 4}

    def lose(reply: Message, brand: str) -> bool:
        is_lost = (
            brand in {"dog", "eel"} and reply.metadata.message_type == wire.ROUND_MESSAGE and silent["left"] > 0
        )
        silent["left"] -= is_lost
        return is_lost

    bench.lost = lose
    bench.run()
    check_sums(bench)
    assert abandoned(bench) == [(0, 0, "too_few_brands"), (0, 1, "too_few_brands")]
    assert asked(bench)[:3] == [(0, 0, 0, EVERYONE), (0, 1, 1, EVERYONE), (0, 2, 2, EVERYONE)]


def test_attempts_end_and_the_brands_are_named_with_reasons(bench: MaskingBench) -> None:
    silent = {"dog", "eel"}
    bench.lost = lambda reply, brand: brand in silent and reply.metadata.message_type == wire.ROUND_MESSAGE
    with pytest.raises(RoundIncompleteError, match=r"lacks 2 of 5 brands \(dog: no answer; eel: no answer\)"):
        bench.run(attempts=2)
    assert len(abandoned(bench)) == 2
    silent.clear()
    bench.run()
    check_sums(bench)
    assert asked(bench)[2] == (0, 2, 2, EVERYONE)


def test_fewer_connected_brands_than_the_quorum_open_no_attempt(bench: MaskingBench) -> None:
    bench.lost = lambda reply, brand: bool(bench.service.releases) and brand in {"ant", "bee"}
    with pytest.raises(RoundIncompleteError, match=r"lacks 2 of 5 brands \(ant"):
        bench.run()
    assert len(bench.service.releases) == 1


def stale_once(agent: MaskingAgent, times: int) -> None:
    left = [times]

    def trouble(kind: str, _value: Any) -> None:
        if kind == "round" and left[0]:
            left[0] -= 1
            raise StaleError("Somebody changed their mind.")

    agent.trouble = trouble


def test_a_brand_whose_customers_changed_their_mind_is_waited_for(bench: MaskingBench) -> None:
    stale_once(bench.agents["cat"], 1)
    bench.run()
    check_sums(bench)
    assert abandoned(bench) == [(0, 0, "refused")]
    assert closed(bench) == [(EVERYONE, ())] * len(ROUNDS)


def test_a_brand_whose_customers_never_stop_is_left_out_at_last(bench: MaskingBench) -> None:
    stale_once(bench.agents["cat"], 3)
    bench.run(attempts=3)
    check_sums(bench)
    assert abandoned(bench) == [(0, 0, "refused"), (0, 1, "refused")]
    assert closed(bench)[0] == (("ant", "bee", "dog", "eel"), ("cat",))


def test_a_round_whose_time_is_over_is_abandoned(bench: MaskingBench) -> None:
    def sleep(manifest: RoundManifest) -> None:
        if (manifest.round, manifest.attempt) == (0, 0):
            bench.now += timedelta(hours=2)

    bench.watcher.on_opened = sleep
    bench.run()
    check_sums(bench)
    assert abandoned(bench) == [(0, 0, "timed_out")]


def test_a_late_sum_is_refused_counted_and_in_no_sum(bench: MaskingBench, monkeypatch: pytest.MonkeyPatch) -> None:
    mails: list[Any] = []

    class Kept(coordinator.BrandMail):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            mails.append(self)

    monkeypatch.setattr(coordinator, "BrandMail", Kept)
    first = {"left": 1}

    def delay(reply: Message, brand: str) -> int:
        is_late = brand == "dog" and reply.metadata.message_type == wire.ROUND_MESSAGE and first["left"] > 0
        first["left"] -= is_late
        return 1 if is_late else 0

    bench.delayed = delay
    bench.run()
    check_sums(bench)
    assert closed(bench)[0] == (("ant", "bee", "cat", "eel"), ("dog",))
    assert closed(bench)[1] == (EVERYONE, ())
    assert mails[0].late == {"dog": 1}


def lie_about_shares(agent: MaskingAgent) -> None:
    def altered(word: Unmasking) -> Unmasking:
        seeds = {brand: f"{int(share, 16) ^ 1:064x}" for brand, share in word.seeds.items()}
        return word.model_copy(update={"seeds": seeds})

    agent.helps = altered


def test_altered_shares_are_found_and_the_sum_is_opened_without_them(
    bench: MaskingBench, capsys: pytest.CaptureFixture[str]
) -> None:
    lie_about_shares(bench.agents["bee"])
    bench.run()
    check_sums(bench)
    assert "brands=['bee']" in capsys.readouterr().out.replace("\x1b[0m", "").replace("\x1b[36m", "").replace(
        "\x1b[35m", ""
    )


def test_altered_shares_of_two_brands_open_nothing_and_are_named(bench: MaskingBench) -> None:
    lie_about_shares(bench.agents["bee"])
    lie_about_shares(bench.agents["dog"])
    with pytest.raises(RoundIncompleteError, match=r"can not be opened.*bee.*do not lead to what the brands"):
        bench.run()
    assert bench.service.releases == []


def test_an_absurd_sum_is_refused_and_nothing_is_released(bench: MaskingBench) -> None:
    def garbage(agent: MaskingAgent, manifest: RoundManifest, length: int) -> Any:
        return plain(agent, manifest, length) + (2**30 if agent.brand == "dog" else 0)

    for agent in bench.agents.values():
        agent.values = garbage
    with pytest.raises(SumRefusedError, match=r"round 0 .* no honest brands' sums reach"):
        bench.run()
    assert bench.service.releases == []


def test_a_run_is_not_set_up_without_one_of_its_brands(bench: MaskingBench) -> None:
    bench.connected.remove("dog")
    with pytest.raises(SetupIncompleteError, match=r"without 1 of 5 brands \(dog: no answer\)"):
        bench.run()
    assert bench.watcher.manifests == []
    bench.connected.append("dog")
    bench.run()
    check_sums(bench)


def test_a_brand_that_the_service_knows_under_another_key_stops_the_setup(bench: MaskingBench) -> None:
    bench.service.keys["dog"] = MaskingAgent("dog", plain).key.public_key
    with pytest.raises(SetupIncompleteError, match="does not know dog under the key"):
        bench.run()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("query.setup", "signed by a key that is not enrolled"),
        ("query.share", "another brand's, of another setup"),
    ],
)
def test_a_message_of_the_setup_that_is_not_a_brands_own_does_not_count(
    kind: str, words: str, bench: MaskingBench
) -> None:
    stranger = MaskingAgent("dog", plain)
    dog = bench.agents["dog"]
    if kind == "query.setup":
        honest = dog.advertise

        def forge(texts: dict[str, str]) -> dict[str, str]:
            dog.key, stranger.key = stranger.key, dog.key
            try:
                return honest(texts)
            finally:
                dog.key, stranger.key = stranger.key, dog.key

        dog.advertise = forge  # type: ignore[method-assign]
    else:
        deal = dog.share

        def borrow(texts: dict[str, str]) -> dict[str, str]:
            return {name: text.replace('"sender": "dog"', '"sender": "cat"') for name, text in deal(texts).items()}

        dog.share = borrow  # type: ignore[method-assign]
    with pytest.raises(SetupIncompleteError, match=words):
        bench.run()
    assert bench.watcher.manifests == []


def test_the_state_is_told_in_order(bench: MaskingBench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run()
    told = [line for line in capsys.readouterr().out.splitlines() if "state" in line]
    words = ["opened", "collecting", "closed", "unmasked", "released"] * len(ROUNDS)
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))


def test_two_thresholds_are_the_schemes(bench: MaskingBench) -> None:
    bench.run()
    arrived: list[Closing] = [one.body for one in bench.service.closings]
    assert all(len(one.arrived) >= THRESHOLD for one in arrived)
    assert SOLVER.shares(None).fewest == FEWEST
