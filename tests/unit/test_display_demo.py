"""What a demo shows at its end: the table in the terminal and the page."""

import base64
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from simulations.display import demo_table, render_report, wording, write_report
from simulations.display.svg import DARK, LIGHT, Palette
from simulations.results import (
    BrandScore,
    CalibrationBin,
    Coverage,
    DemoResult,
    LiftResult,
    LogResult,
    RoundPoint,
    Spend,
    WithdrawalWave,
)

NAN = float("nan")
ROOT = base64.b64encode(hashlib.sha256(b"root").digest()).decode()
HOSTILE = "<script src=//evil.example>alert('1')</script> $x^2$ [bold]&amp;"
TRAINING, DECISIONS = "personalization-training", "personalization-decisions"
BRANDS = {"fashion": 4380, "grocery": 2850, "electronics": 1790, "travel": 1065, "beauty": 560}
ROUNDS = 41


def _rounds() -> tuple[RoundPoint, ...]:
    return tuple(
        RoundPoint(
            round=number,
            epsilon=4 * math.sqrt((number + 1) / ROUNDS) * 0.999,
            auc=0.846 - 0.19 * math.exp(-number / 7) + 0.002 * math.sin(2.1 * number) if number else None,
            cohort={brand: 1 << (size.bit_length() - 1) for brand, size in BRANDS.items()},
            withdrawn={11: 42, 26: 17}.get(number, 0),
        )
        for number in range(ROUNDS)
    )


def _coverage() -> tuple[Coverage, ...]:
    return tuple(
        Coverage(brand, purpose, int(size * share), int(size * 0.08), int(size * (1.3 - share)))
        for purpose, share in ((TRAINING, 1.0), (DECISIONS, 0.84))
        for brand, size in BRANDS.items()
    )


@pytest.fixture(scope="module")
def demo() -> DemoResult:
    predicted = (0.018, 0.041, 0.066, 0.095, 0.131, 0.176, 0.235, 0.312, 0.418, 0.571)
    observed = (0.021, 0.038, 0.071, 0.089, 0.139, 0.170, 0.247, 0.301, 0.437, 0.548)
    return DemoResult(
        run_id="demo-7f3a",
        seconds=93.4,
        guaranteed=True,
        rounds=_rounds(),
        scores=(
            BrandScore("fashion", 4380, 0.848, 0.829, 0.851),
            BrandScore("grocery", 2850, 0.861, 0.836, 0.863),
            BrandScore("electronics", 1790, 0.839, 0.788, 0.844),
            BrandScore("travel", 1065, 0.824, 0.731, 0.832),
            BrandScore("beauty", 560, 0.817, NAN, 0.828),
            BrandScore("all brands", 10645, 0.843, 0.797, 0.849),
        ),
        spends=(Spend(TRAINING, 3.9961, 4.0, 1e-6), Spend(DECISIONS, 0.0, 0.0, 1e-6)),
        withdrawals=(WithdrawalWave(10, 42, tuple(range(11))), WithdrawalWave(25, 17, tuple(range(26)))),
        lift=LiftResult(9612, 1071, 5418, 0.0213, 0.0047, 0.0368, {"frequency-cap": 3127, "quiet-hours": 874}),
        log=LogResult(
            "runs/demo-7f3a/log",
            "runs/demo-7f3a/log.vkey",
            "runs/demo-7f3a/log.checkpoint",
            12764,
            ROOT,
            verified=True,
        ),
        coverage=_coverage(),
        calibration=tuple(
            CalibrationBin(p, o, n)
            for p, o, n in zip(predicted, observed, (912, 871, 740, 655, 548, 451, 342, 260, 171, 95), strict=True)
        ),
        intake={
            brand: {"received": size * 31, "kept": size * 30, "duplicates": size - 60, "rejected": 60}
            for brand, size in BRANDS.items()
        },
    )


@pytest.fixture(scope="module")
def page(demo: DemoResult) -> str:
    return render_report(demo)


@pytest.fixture(scope="module")
def bare(demo: DemoResult) -> DemoResult:
    """A result that there is nothing to draw of."""
    nobody = LiftResult(0, 0, 0, NAN, NAN, NAN, {})
    empty = (CalibrationBin(NAN, NAN, 0),)
    return replace(demo, rounds=(), scores=(), coverage=(), calibration=empty, lift=nobody, intake={})


@pytest.fixture(scope="module")
def hostile(demo: DemoResult) -> DemoResult:
    """Every name that a brand or an operator chooses is an attack."""
    return replace(
        demo,
        run_id=HOSTILE,
        scores=tuple(replace(score, name=HOSTILE) for score in demo.scores),
        spends=tuple(replace(spend, purpose=HOSTILE) for spend in demo.spends),
        coverage=tuple(
            replace(item, brand=HOSTILE, purpose=f"{HOSTILE} {item.purpose}") for item in demo.coverage
        ),
        lift=replace(demo.lift, blocked={HOSTILE: 3}),
        log=replace(demo.log, path=HOSTILE, vkey=HOSTILE, root=HOSTILE),
        intake={HOSTILE: {HOSTILE: 4}},
    )


def _printed(result: DemoResult, *, color: bool = False) -> str:
    console = Console(width=100, force_terminal=color, color_system="standard" if color else None)
    with console.capture() as capture:
        console.print(demo_table(result))
    return capture.get()


class _Page(HTMLParser):
    """Collects tags, attributes and text as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.tags for key, value in attributes.items() if key == name]


def _numbers(result: DemoResult) -> list[str]:
    scores = [
        text
        for item in result.scores
        for text in (item.name, f"{item.customers:,}", *(f"{v:.3f}" for v in (item.federated, item.pooled)))
    ]
    alone = [f"{item.alone:.3f}" for item in result.scores if not math.isnan(item.alone)]
    spent = [
        TRAINING,
        "epsilon 3.997 of 4,",
        "delta 1e-06",
        DECISIONS,
        "epsilon 0.000; nothing may be spent on it",
    ]
    left = ["42 customers", "rounds 0-10", "17 customers", "rounds 0-25", "in none since"]
    lift = ["+2.13", "+0.47 to +3.68", "95 %", "9,612", "1,071", "5,418"]
    return [*scores, *alone, *spent, *left, *lift, "12,764", ROOT, "verified", wording.POOLED_NOTE]


def test_table_has_every_number_and_fits_100_columns(demo: DemoResult) -> None:
    printed = _printed(demo)
    assert [number for number in _numbers(demo) if number not in printed] == []
    assert max(map(len, printed.splitlines())) <= 100


def test_page_has_every_number_of_the_table(demo: DemoResult, page: str) -> None:
    text = _Page(page).text
    assert [number for number in _numbers(demo) if number not in text] == []


def test_log_that_does_not_verify_is_shown_in_red(bare: DemoResult) -> None:
    broken = replace(bare, log=replace(bare.log, verified=False))
    assert re.search(r"\x1b\[[\d;]*31mNOT VERIFIED", _printed(broken, color=True))
    assert "NOT VERIFIED" not in _printed(bare)
    page = render_report(broken)
    assert '<span class="bad">NOT VERIFIED</span>' in page
    assert '<span class="good">verified</span>' not in page
    assert page.count('role="alert"') == 1


@pytest.mark.parametrize("guaranteed", [True, False])
def test_seeded_noise_is_said_to_guarantee_nothing(bare: DemoResult, *, guaranteed: bool) -> None:
    shown = replace(bare, guaranteed=guaranteed)
    for text in (_printed(shown), render_report(shown)):
        assert ("NO privacy" in text) is not guaranteed


def test_page_refers_to_nothing_outside_and_runs_nothing(page: str) -> None:
    parsed = _Page(page)
    links = [
        value
        for name in ("href", "xlink:href", "src", "srcset", "action", "data")
        for value in parsed.attributes(name)
    ]
    assert links
    assert [value for value in links if not value.startswith("#")] == []
    assert [value for value in re.findall(r"url\(([^)]*)\)", page) if not value.startswith("#")] == []
    assert not {tag for tag, _ in parsed.tags} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "img",
    }
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|@import|@font-face|javascript:", page)


def test_page_forbids_itself_everything_but_inline_style_and_data_images(page: str) -> None:
    policies = [a["content"] for tag, a in _Page(page).tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    rules = {rule.split()[0]: rule.split()[1:] for rule in str(policies[0]).split(";")}
    assert rules.pop("style-src") == ["'unsafe-inline'"]
    assert rules.pop("img-src") == ["data:"]
    assert "default-src" in rules
    assert set(map(tuple, rules.values())) == {("'none'",)}


def test_hostile_names_stay_text(hostile: DemoResult, page: str) -> None:
    attacked = render_report(hostile)
    parsed = _Page(attacked)
    assert "<script" not in attacked
    assert {tag for tag, _ in parsed.tags} == {tag for tag, _ in _Page(page).tags}
    assert parsed.text.count(HOSTILE) >= len(hostile.scores)
    assert "[bold]&amp;" in _printed(hostile)


def test_auc_that_could_not_be_computed_is_a_dash(demo: DemoResult, page: str) -> None:
    row = next(line for line in _printed(demo).splitlines() if "beauty" in line)
    assert re.search(r"0\.817\s+\N{EM DASH}\s+0\.828", row)
    assert "<td>\N{EM DASH}</td><td>0.828</td>" in page
    assert not re.search(r"\bnan\b", _printed(demo) + page, re.IGNORECASE)


def test_result_without_anything_to_draw_is_still_a_page(bare: DemoResult) -> None:
    nothing = replace(bare, spends=(), withdrawals=())
    page = render_report(nothing)
    assert "<figure" not in page
    assert "nobody withdrew" in page
    assert not re.search(r"\bnan\b", page + _printed(nothing), re.IGNORECASE)


def test_every_figure_has_a_label_a_reader_and_identifiers_of_its_own(page: str) -> None:
    parsed = _Page(page)
    figures = [attributes["id"] for tag, attributes in parsed.tags if tag == "figure"]
    assert figures == ["auc-by-round", "auc-by-brand", "budget", "coverage", "calibration", "lift"]
    labels = [attributes["aria-label"] for tag, attributes in parsed.tags if tag == "svg"]
    assert len(labels) == len(figures)
    assert all(labels)
    assert parsed.text.count("Who can see it.") == len(figures)
    identifiers = parsed.attributes("id")
    assert len(identifiers) == len(set(identifiers))
    assert {value[1:] for value in parsed.attributes("href")} <= set(identifiers)


def test_page_can_be_read_aloud(page: str) -> None:
    parsed = _Page(page)
    assert ("html", {"lang": "en"}) in parsed.tags
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in parsed.tags if tag == "th")
    headings = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


def _luminance(color: str) -> float:
    parts = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_have_the_contrast_of_wcag_aa(palette: Palette) -> None:
    for text in (palette.ink, palette.muted, palette.accent, palette.bad):
        assert _contrast(text, palette.paper) >= 4.5
    assert _contrast(palette.ink, palette.wash) >= 4.5
    assert _contrast(palette.faint, palette.paper) >= 3


def test_figures_follow_the_palette_of_the_page(page: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--accent)" in drawings
    assert not re.search(r"#[0-9a-f]{6}\b", drawings)


def test_report_is_written_whole_and_the_same_each_time(demo: DemoResult, page: str, tmp_path: Path) -> None:
    target = tmp_path / "runs" / "report.html"
    write_report(demo, target)
    assert target.read_text(encoding="utf-8") == page
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [((), "no round"), ((4,), "round 4"), ((0, 1, 2), "rounds 0-2"), ((7, 0, 1, 3), "rounds 0-1, 3 and 7")],
)
def test_rounds_are_said_as_ranges(numbers: tuple[int, ...], said: str) -> None:
    assert wording.rounds(numbers) == said


def test_epsilon_is_never_rounded_down() -> None:
    assert wording.epsilon(0.0001) == "0.001"
    assert wording.epsilon(3.92) == "3.920"
    assert wording.epsilon(1e-12) == "0.001"
    assert wording.epsilon(math.inf) == "unbounded"


def test_use_after_withdrawing_is_called_out(bare: DemoResult) -> None:
    late = replace(bare, withdrawals=(WithdrawalWave(10, 1, tuple(range(12))),))
    said = "1 customer withdrew after round 10: usable in rounds 0-11, STILL AFTER WITHDRAWING in round 11"
    assert f'<li class="bad">{said}</li>' in render_report(late)
    assert re.search(r"\x1b\[[\d;]*31m1 customer withdrew", _printed(late, color=True))
    assert "STILL" not in _printed(bare)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "helped"),
        (-0.03, -0.01, "harm"),
        (-0.01, 0.03, "chance"),
        (NAN, NAN, "nothing can be concluded"),
    ],
)
def test_conclusion_follows_from_the_interval(demo: DemoResult, low: float, high: float, said: str) -> None:
    assert said in wording.lift_verdict(replace(demo.lift, low=low, high=high))
