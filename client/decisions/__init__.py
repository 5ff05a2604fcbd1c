"""Next best action at the brand: who may be reached, with what, how it was drawn, and what it changed.

Deny by default: without a grant for the purpose and the channel, under a cap, in quiet hours, in the holdout or
with sends stopped, the decision is "no action", and its record says which rule decided so.
"""

from client.decisions.catalogue import NO_ACTION, Action, EligibilityRule
from client.decisions.engine import DecisionBatch, DecisionEngine
from client.decisions.gate import ConsentGate
from client.decisions.holdout import Holdout
from client.decisions.journal import DecisionJournal
from client.decisions.lift import Lift, measure_lift
from client.decisions.policy import DecisionPolicy, EpsilonGreedy, Exploration, FrequencyCap, QuietHours, Softmax
from client.decisions.record import CandidateTrace, NextAction
from client.decisions.switch import KillSwitch

__all__ = [
    "NO_ACTION",
    "Action",
    "CandidateTrace",
    "ConsentGate",
    "DecisionBatch",
    "DecisionEngine",
    "DecisionJournal",
    "DecisionPolicy",
    "EligibilityRule",
    "EpsilonGreedy",
    "Exploration",
    "FrequencyCap",
    "Holdout",
    "KillSwitch",
    "Lift",
    "NextAction",
    "QuietHours",
    "Softmax",
    "measure_lift",
]
