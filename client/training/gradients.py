"""Per-customer gradients of an additive logistic model, clipped and summed by Opacus."""

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

CHUNK = 8192
"""Customers per pass: per-customer gradients of one chunk are in memory at a time."""


def clipped_gradient_sum(
    vectors: NDArray[np.float64],
    labels: NDArray[np.int8],
    *,
    point: NDArray[np.float64],
    base_logit: float,
    clip_norm: float,
) -> NDArray[np.float64]:
    """Return the sum over customers of their log-loss gradient, each clipped to `clip_norm` in L2.

    Args:
        vectors: one bounded vector per customer, shape (n, p); n may be 0.
        labels: shape (n,), 0 or 1.
        point: weights at which the gradients are taken, shape (p,).
        base_logit: fixed intercept.
        clip_norm: largest norm of one customer's gradient.
    """
    model = GradSampleModule(_linear(point), loss_reduction="sum")
    total = np.zeros(point.size)
    for start in range(0, len(labels), CHUNK):
        rows = slice(start, start + CHUNK)
        optimizer = DPOptimizer(
            torch.optim.SGD(model.parameters(), lr=0.0),
            noise_multiplier=0.0,
            max_grad_norm=clip_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        optimizer.zero_grad()
        inputs = torch.from_numpy(vectors[rows]).requires_grad_()  # Opacus' backward hooks need it
        logits = model(inputs).squeeze(1) + base_logit
        target = torch.from_numpy(labels[rows].astype(np.float64))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        torch.autograd.backward(loss)
        optimizer.clip_and_accumulate()
        total += optimizer.params[0].summed_grad.numpy().reshape(-1)
    return total


def _linear(point: NDArray[np.float64]) -> torch.nn.Linear:
    linear = torch.nn.Linear(point.size, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(point.copy()).unsqueeze(0))
    return linear
