"""The demo's next best actions: decided inside each agent, judged by the synthetic customers' own outcomes."""

from collections import Counter
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path

import duckdb
import numpy as np

from client.agent.assembly import AgentParts
from client.agent.deciding import Decider
from client.decisions import (
    Action,
    DecisionEngine,
    DecisionJournal,
    DecisionPolicy,
    EligibilityRule,
    EpsilonGreedy,
    FrequencyCap,
    Holdout,
    KillSwitch,
    NextAction,
    QuietHours,
    measure_lift,
)
from consent.contract import Channel
from simulations.demo.brands import DemoBrand
from simulations.results import LiftResult
from simulations.synthetic import DECISION_PURPOSE, TRAINING_PURPOSE

HOLDOUT_SHARE = 0.2
JOURNAL = "decisions.duckdb"
KILL_SWITCH = "stop-all-sends"
DECIDED_AFTER_CUTOFF = timedelta(hours=10)
"""Decisions fall in the daytime: at the cut-off itself it is midnight."""

CATALOGUE = (
    Action("welcome-back-email", "Welcome back", Channel.EMAIL, value=24.0, cost=0.05),
    Action("new-in-app", "New for you", Channel.IN_APP, value=22.0, cost=0.02),
    Action("reminder-push", "Still in your basket", Channel.PUSH, value=22.0, cost=0.03,
           rules=(EligibilityRule("has-a-basket", "cart_adds_30d", at_least=1),)),
    Action("gold-sms", "Early access", Channel.SMS, value=28.0, cost=0.30,
           rules=(EligibilityRule("gold-or-silver", "tier", one_of=("gold", "silver")),)),
)  # fmt: skip


def decide_all(brands: Mapping[str, DemoBrand], agents: Mapping[str, AgentParts], folder: Path) -> LiftResult:
    """Decide for every customer of every brand, and measure lift over the holdout by intention to treat."""
    held_out: list[bool] = []
    converted: list[bool] = []
    blocked: Counter[str] = Counter()
    sent = 0
    for name, brand in brands.items():
        customers, decisions = _decide(brand, agents[name], folder / "brands" / name)
        for customer, decision in zip(customers, decisions, strict=True):
            if customer not in brand.synthetic.truth:
                continue
            held_out.append(decision.holdout)
            channel = decision.action.channel if decision.action else None
            converted.append(brand.synthetic.outcome(customer, channel))
            sent += decision.action is not None
            blocked.update(rule for trace in decision.candidates for rule in trace.blocked_by)
    lift = measure_lift(np.array(held_out, dtype=np.bool_), np.array(converted, dtype=np.bool_))
    return LiftResult(
        treated=lift.treated,
        held_out=lift.held_out,
        sent=sent,
        difference=lift.difference,
        low=lift.lower,
        high=lift.upper,
        blocked=dict(blocked),
    )


def _decide(brand: DemoBrand, parts: AgentParts, folder: Path) -> tuple[tuple[str, ...], tuple[NextAction, ...]]:
    """Decide for one brand, under a journal of its own that starts empty: an interrupted demo sent nothing."""
    journal_file = folder / JOURNAL
    journal_file.unlink(missing_ok=True)
    moment = brand.synthetic.cutoff + DECIDED_AFTER_CUTOFF
    with duckdb.connect(str(journal_file)) as connection:
        engine = DecisionEngine(
            policy=_policy(brand.synthetic.name),
            catalogue=CATALOGUE,
            gate=parts.desk,
            holdout=Holdout(parts.keys.holdout, HOLDOUT_SHARE),
            pseudonym=parts.pseudonymizer.pseudonym,
            journal=DecisionJournal(connection),
            stopped=KillSwitch(folder / KILL_SWITCH),
            clock=lambda: moment,
        )
        decider = Decider(parts.agent.models, brand.graph, engine)
        return decider.decide(TRAINING_PURPOSE, brand.synthetic.cutoff)


def _policy(brand: str) -> DecisionPolicy:
    return DecisionPolicy(
        brand=brand,
        purpose=DECISION_PURPOSE,
        exploration=EpsilonGreedy(0.1),
        caps=(FrequencyCap("weekly-cap", limit=2, window=timedelta(days=7)),),
        quiet_hours=QuietHours(time(21), time(8), "UTC"),
    )
