"""The synthetic brands: their files go through intake, and their truth is what the features can tell."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import vstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from client.events import EventStore, IngestReport, RejectReason, Source
from client.features import FEATURE_NAMES, CustomerTable, cells, extract
from client.identity import IdentityGraph
from consent.contract import Act, Channel, Choice
from consent.contract.plan import layout
from simulations.synthetic import (
    CONVERSION_FEATURES,
    FIVE_BRANDS,
    NOTICES,
    TRAINING_PURPOSE,
    SyntheticBrand,
    conversion_task,
    generate,
)
from simulations.synthetic.histories import draw_customers, draw_history
from simulations.synthetic.truth import facts

SCALE = 0.3


@dataclass(frozen=True)
class Taken:
    """A generated brand after intake."""

    brand: SyntheticBrand
    reports: Mapping[Source, IngestReport]
    table: CustomerTable


def take_in(brand: SyntheticBrand) -> Taken:
    store = EventStore(clock=lambda: brand.cutoff + timedelta(days=brand.horizon_days))
    reports = {source: store.ingest(path, source) for source, path in brand.sources.items()}
    table = extract(IdentityGraph(store), brand.cutoff, horizon=timedelta(days=brand.horizon_days))
    store.close()
    return Taken(brand, reports, table)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Taken]:
    folder, rng = tmp_path_factory.mktemp("brands"), np.random.default_rng(11)
    return {p.name: take_in(generate(p, rng, folder / p.name, SCALE)) for p in FIVE_BRANDS}


def expected_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """AUC with the labels' own luck averaged out: each customer counts as both, by probability."""
    labels = np.repeat([1, 0], len(truth))
    return float(roc_auc_score(labels, np.tile(scores, 2), sample_weight=np.concatenate([truth, 1 - truth])))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for profile in FIVE_BRANDS[:2]:
        runs = []
        for run, seed in enumerate((5, 5, 6)):
            generate(profile, np.random.default_rng(seed), tmp_path / f"{profile.name}-{run}", 0.02)
            runs.append(digests(tmp_path / f"{profile.name}-{run}"))
        assert runs[0] == runs[1]
        assert all(runs[0][name] != runs[2][name] for name in runs[0])


def test_every_record_of_every_file_is_accounted_for(five: dict[str, Taken]) -> None:
    total: Counter[RejectReason] = Counter()
    for taken in five.values():
        report = sum(taken.reports.values(), start=IngestReport(0, 0, 0, {}))
        assert report.reconciles
        assert report.duplicates > 0
        total.update(report.rejected)
        assert 15 <= report.kept / len(taken.table) <= 26
    assert set(total) >= set(RejectReason) - {RejectReason.BAD_VALUE}


def test_brands_have_the_sources_of_their_profile(five: dict[str, Taken]) -> None:
    for taken in five.values():
        profile = taken.brand.profile
        assert (Source.APP in taken.brand.sources) == (profile.app_share > 0)
        assert (Source.POS in taken.brand.sources) == (profile.receipts > 0)
    assert five["grocery"].brand.sources[Source.POS].suffix == ".parquet"


def test_every_customer_is_found_and_no_stranger_becomes_one(five: dict[str, Taken]) -> None:
    for taken in five.values():
        assert set(taken.table.customers) == set(taken.brand.truth)


def test_the_features_are_the_facts_that_the_truth_was_made_of(tmp_path: Path) -> None:
    profile, scale = FIVE_BRANDS[0], 0.1
    taken = take_in(generate(profile, np.random.default_rng(5), tmp_path, scale))
    rng = np.random.default_rng(5)
    customers = draw_customers(profile, round(profile.customers * scale), rng)
    known = facts(customers, draw_history(profile, customers, rng))
    for name in set(vars(known)) & set(FEATURE_NAMES) - {"sessions_30d"}:
        np.testing.assert_allclose(taken.table.columns[name], getattr(known, name), err_msg=name)
    close = np.abs(taken.table.columns["sessions_30d"] - known.sessions_30d) <= 1
    assert close.mean() > 0.99, "two visits less than 30 minutes apart are one session"


def test_labels_are_the_untreated_outcomes(five: dict[str, Taken]) -> None:
    for taken in five.values():
        assert taken.table.labels is not None
        outcomes = [taken.brand.outcome(customer, None) for customer in taken.table.customers]
        assert taken.table.labels.tolist() == outcomes
        truth = np.array(list(taken.brand.truth.values()))
        assert truth.mean() == pytest.approx(taken.brand.profile.base_rate, abs=1e-6)
        assert abs(np.mean(outcomes) - truth.mean()) < 4 * (truth * (1 - truth)).sum() ** 0.5 / len(truth)


def test_the_best_model_reaches_an_auc_between_79_and_86(five: dict[str, Taken]) -> None:
    for taken in five.values():
        truth = np.array(list(taken.brand.truth.values()))
        assert 0.79 <= expected_auc(truth, truth) <= 0.86


def test_brands_learn_from_each_other(five: dict[str, Taken]) -> None:
    """Over all held-out customers, the model of all brands beats each brand's own and comes near the truth."""
    encoder = OneHotEncoder(categories=[list(range(layout(feature, 16).cells)) for feature in CONVERSION_FEATURES])
    splits = [taken.brand.split(taken.table) for taken in five.values()]
    train = [encoder.fit_transform(cells(rows, CONVERSION_FEATURES, 16)) for rows, _ in splits]
    held = [encoder.transform(cells(rows, CONVERSION_FEATURES, 16)) for _, rows in splits]
    together = LogisticRegression(C=0.1, max_iter=300).fit(
        vstack(train), np.concatenate([rows.labels for rows, _ in splits])
    )
    gaps, gains = [], []
    for taken, x, (rows, evaluation), z in zip(five.values(), train, splits, held, strict=True):
        truth = np.array([taken.brand.truth[customer] for customer in evaluation.customers])
        alone = LogisticRegression(C=0.1, max_iter=300).fit(x, rows.labels)
        of_all = expected_auc(together.predict_proba(z)[:, 1], truth)
        gains.append(of_all - expected_auc(alone.predict_proba(z)[:, 1], truth))
        gaps.append(expected_auc(truth, truth) - of_all)
    assert np.mean(gains) > 0.01
    assert np.mean(gaps) < 0.04


def test_a_contact_helps_on_average_and_harms_some(five: dict[str, Taken]) -> None:
    for taken in five.values():
        brand = taken.brand
        changes = {
            channel: np.array([brand.probability(c, channel) - brand.truth[c] for c in brand.truth])
            for channel in (Channel.EMAIL, Channel.SMS, Channel.PUSH, Channel.IN_APP)
        }
        for change in changes.values():
            assert change.mean() > 0.01
            assert 0.01 < (change < 0).mean() < 0.4
            assert change.std() > 0.01


def test_outcomes_share_one_random_number_per_customer(five: dict[str, Taken]) -> None:
    brand = five["fashion"].brand
    for customer in list(brand.truth)[:500]:
        untreated, treated = brand.outcome(customer, None), brand.outcome(customer, Channel.EMAIL)
        better = brand.probability(customer, Channel.EMAIL) >= brand.truth[customer]
        assert treated >= untreated if better else treated <= untreated


def test_held_out_customers_are_never_trained_on(five: dict[str, Taken]) -> None:
    for taken in five.values():
        train, evaluation = taken.brand.split(taken.table)
        assert not set(train.customers) & taken.brand.held_out
        assert set(evaluation.customers) == taken.brand.held_out
        assert len(train) + len(evaluation) == len(taken.table)
    assert len(five["fashion"].brand.held_out) / len(five["fashion"].table) == pytest.approx(0.25, abs=0.05)


def test_consents_are_choices_that_the_service_would_take(five: dict[str, Taken]) -> None:
    for taken in five.values():
        standing: dict[tuple[str, str], str] = {}
        for line in taken.brand.consents.read_text().splitlines():
            said = json.loads(line)
            customer, notice = said.pop("customer"), said.pop("notice", None)
            digest = NOTICES[notice].digest() if notice else None
            choice = Choice(brand=taken.brand.name, subject="0" * 64, notice=digest, **said)
            assert (choice.purpose is None) != (choice.channel is None)
            assert digest or choice.channel or choice.act is Act.WITHDRAW
            standing[customer, said.get("purpose") or said["channel"]] = choice.act
        granted = Counter(what for (_, what), act in standing.items() if act is Act.GRANT)
        n = len(taken.brand.truth)
        assert granted[TRAINING_PURPOSE] / n == pytest.approx(0.78, abs=0.08)
        assert granted[Channel.SMS] < granted[Channel.EMAIL] < granted[TRAINING_PURPOSE]


def test_the_task_asks_for_the_features_that_extraction_gives() -> None:
    task = conversion_task(epsilon=2.0)
    assert tuple(feature.name for feature in task.features) == FEATURE_NAMES
    assert (task.label.horizon_days, task.privacy.epsilon, task.purpose) == (30, 2.0, TRAINING_PURPOSE)
