"""Answers that can be accounted for: what a brand keeps of a decision, and how it is shown that it was given.

Each answer is a salted leaf of a tree, whose root the service logs within about a second. The service keeps leaves
and no salts: whoever was not asked can neither read nor guess what was answered about whom.
"""

from consent.answers.receipt import (
    ANSWERED,
    AnswerEvidence,
    AnswerProof,
    AnswerProofRequest,
    AnswersReceipt,
    KeptAnswer,
    leaf_of,
    salt_of,
    tree_of,
)

__all__ = [
    "ANSWERED",
    "AnswerEvidence",
    "AnswerProof",
    "AnswerProofRequest",
    "AnswersReceipt",
    "KeptAnswer",
    "leaf_of",
    "salt_of",
    "tree_of",
]
