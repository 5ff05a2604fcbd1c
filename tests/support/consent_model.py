"""A consent service for many examples, and a model of a dozen lines of what it has to answer."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from consent.contract import Act, Choice, Purpose, SigningKey
from consent.service.principals import enrol
from consent.service.work import Caller, Workplace
from consent.wire import Enrolment, Role

NOTICE = "May we?"
DIGEST = hashlib.sha256(NOTICE.encode()).hexdigest()
START = datetime(2026, 11, 2, tzinfo=UTC)


class Model:
    """Yes only if there is a yes that is strictly later than every no, on a clock that never steps back."""

    def __init__(self) -> None:
        self.acts: dict[tuple[str, str], list[tuple[int, Act]]] = {}

    def act(self, subject: str, purpose: str, act: Act, at: int) -> None:
        self.acts.setdefault((subject, purpose), []).append((at, act))

    def allowed(self, subject: str, purpose: str) -> bool:
        acts = self.acts.get((subject, purpose), [])
        last_no = max((at for at, act in acts if act is Act.WITHDRAW), default=-1)
        return any(at > last_no for at, act in acts if act is Act.GRANT)


@dataclass
class Service:
    """One service for all examples; each example is a brand of its own."""

    workplace: Workplace
    now: datetime = START
    brands: int = 0

    def new_brand(self) -> Caller:
        self.brands += 1
        name, key = f"brand-{self.brands}", SigningKey.generate().public_key
        with self.workplace.writing() as unit:
            enrol(unit, Enrolment(role=Role.BRAND, name=name, public_key=key))
        return Caller(id=1 + self.brands, role=Role.BRAND, name=name, public_key=key)


def purpose_named(name: str) -> Purpose:
    return Purpose(
        purpose=name, title=name, legal_basis="consent", data_categories=("behaviour",), retention_days=30
    )


def choice_of(brand: str, subject: str, purpose: str, act: Act) -> Choice:
    notice = DIGEST if act is Act.GRANT else None
    return Choice(brand=brand, subject=subject, act=act, purpose=purpose, notice=notice)
