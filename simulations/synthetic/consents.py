"""What the customers of a synthetic brand said about purposes and channels."""

import json
from collections.abc import Sequence

import numpy as np

from consent.contract import Act, Channel
from simulations.synthetic.task import DECISION_PURPOSE, TRAINING_PURPOSE

PURPOSE_SHARES = {TRAINING_PURPOSE: 0.8, DECISION_PURPOSE: 0.85}
CHANNEL_SHARES = {
    Channel.EMAIL: 0.65,
    Channel.SMS: 0.25,
    Channel.PUSH: 0.35,
    Channel.IN_APP: 0.5,
    Channel.ADS: 0.2,
}
CHANGED_MIND, SAID_NO = 0.02, 0.5


def draw_consents(ids: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return one NDJSON line per act; who says nothing has no line, and 2 % of grants are withdrawn later."""
    said: list[dict[str, str]] = []
    regrets: list[dict[str, str]] = []
    for purpose, share in PURPOSE_SHARES.items():
        for who, draw in zip(ids, rng.random((len(ids), 2)).tolist(), strict=True):
            line = {"customer": who, "purpose": purpose, "notice": purpose}
            if draw[0] < share:
                said.append({**line, "act": Act.GRANT})
                if draw[1] < CHANGED_MIND:
                    regrets.append({"customer": who, "purpose": purpose, "act": Act.WITHDRAW})
            elif draw[1] < SAID_NO:
                said.append({"customer": who, "purpose": purpose, "act": Act.WITHDRAW})
    for channel, share in CHANNEL_SHARES.items():
        granted = rng.random(len(ids)) < share
        said += [
            {"customer": who, "channel": channel, "act": Act.GRANT}
            for who, yes in zip(ids, granted.tolist(), strict=True)
            if yes
        ]
    return [json.dumps(line, separators=(",", ":")) for line in (*said, *regrets)]
