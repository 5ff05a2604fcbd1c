"""The clipped gradient sum: Opacus against the closed form of logistic regression, and the bound per customer."""

import numpy as np
import pytest
from numpy.typing import NDArray

from client.training import gradients
from client.training.gradients import clipped_gradient_sum

CLIP = 0.5
OPACUS_SLACK = 1e-6
"""Opacus divides by the norm plus this, so that a clipped gradient stays just under the clip norm."""


def customers(count: int, width: int = 6) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.float64]]:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(count, width)) * rng.uniform(0.05, 2.0, size=(count, 1))
    return vectors, rng.integers(0, 2, size=count).astype(np.int8), rng.normal(size=width)


def closed_form(
    vectors: NDArray[np.float64], labels: NDArray[np.int8], point: NDArray[np.float64], base_logit: float
) -> NDArray[np.float64]:
    """Return each customer's clipped gradient, shape (n, p)."""
    rates = 1 / (1 + np.exp(-(vectors @ point + base_logit)))
    each = (rates - labels)[:, None] * vectors
    norms = np.linalg.norm(each, axis=1, keepdims=True)
    return each * np.minimum(1.0, CLIP / (norms + OPACUS_SLACK))


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_sum_equals_the_closed_form(count: int) -> None:
    vectors, labels, point = customers(count)
    expected = closed_form(vectors, labels, point, -0.4)
    total = clipped_gradient_sum(vectors, labels, point=point, base_logit=-0.4, clip_norm=CLIP)
    np.testing.assert_allclose(total, expected.sum(axis=0), rtol=0, atol=1e-9)


def test_chunks_do_not_change_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels, point = customers(300)
    whole = clipped_gradient_sum(vectors, labels, point=point, base_logit=0.1, clip_norm=CLIP)
    monkeypatch.setattr(gradients, "CHUNK", 64)
    in_chunks = clipped_gradient_sum(vectors, labels, point=point, base_logit=0.1, clip_norm=CLIP)
    np.testing.assert_allclose(in_chunks, whole, rtol=0, atol=1e-9)


def test_no_customer_moves_the_sum_by_more_than_the_clip_norm() -> None:
    vectors, labels, point = customers(60)
    vectors[:20] *= 1e6
    alone = [
        clipped_gradient_sum(row[None], label[None], point=point, base_logit=0.0, clip_norm=CLIP)
        for row, label in zip(vectors, labels, strict=True)
    ]
    norms = np.linalg.norm(alone, axis=1)
    assert np.all(norms <= CLIP)
    assert np.sum(norms > CLIP - 1e-5) >= 5
    assert np.sum(norms < CLIP / 2) >= 5


def test_no_customers_give_a_sum_of_zero() -> None:
    total = clipped_gradient_sum(
        np.zeros((0, 3)), np.zeros(0, dtype=np.int8), point=np.ones(3), base_logit=0.0, clip_norm=CLIP
    )
    np.testing.assert_array_equal(total, np.zeros(3))
