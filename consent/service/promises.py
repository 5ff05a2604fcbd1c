"""What a statement says of what remains: no more than the service can hold to."""

from typing import Final

from consent.contract import RemedyPolicy

DECISIONS: Final = (
    "This service answers whether a use is allowed and keeps neither the questions nor the answers, but hashes of "
    "them from which nobody can tell whom they are about; the brand's own decision log holds what was decided "
    "about you."
)
REMEDY: Final = (
    "Nothing is taken out of a model that was released. What bounds your influence on it is the epsilon stated "
    "with each round; it was fixed before the round and does not depend on what you do later."
)
REMEDIES: Final = {
    RemedyPolicy.BOUND: "Its models stay in use after you withdraw: the stated epsilon is the answer.",
    RemedyPolicy.RETRAIN: (
        "After you withdraw, its models are to be trained again from the last round without you, and replaced."
    ),
    RemedyPolicy.REPLACE: "After you withdraw, its models are to be taken out of use.",
}
"""By what was chosen for a run's task; what became of it, the remedy's entries of the log say."""
AFTER_WITHDRAWAL: Final = (
    "No round that opens after a withdrawal uses you, and no decision allows a use of you.",
    "A round that was released before stays released: its noised statistics and the models built on them remain.",
    "Your choices, with their times and notices, stay on record as evidence of what was allowed when.",
    "It is not claimed that a model forgets you, nor that the brand deletes what it holds elsewhere.",
)
AFTER_ERASURE: Final = (
    "Your key, the openings of your entries, your choices, preferences and what holds for you are destroyed.",
    "Hashes in the log, which match no guess without the destroyed salts, and every proof over them remain.",
    "Counts, snapshot roots, released noised statistics and the models built on them remain.",
    "That somebody was erased stays in the log, with the rounds that could use them, and without a name.",
    "An entry about another customer that names you as their guardian remains until that customer is erased.",
    "Backups made before stay readable to who holds them and the payload key, until they expire.",
    "It is not claimed that the brand deletes what it holds elsewhere.",
)
