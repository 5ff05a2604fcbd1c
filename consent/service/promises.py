"""What a statement says of what remains: no more than the service can hold to."""

from typing import Final

DECISIONS: Final = (
    "This service answers whether a use is allowed and keeps neither the questions nor the answers; the brand's "
    "own decision log holds what was decided about you."
)
REMEDY: Final = (
    "Nothing is taken out of a model that was released. What bounds your influence on it is the epsilon stated "
    "with each round; it was fixed before the round and does not depend on what you do later."
)
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
