"""What withdrawals ask of models, and the models that are out of use."""

from collections.abc import Iterator

from consent.client.calls import Calls
from consent.contract import RemedyPolicy
from consent.remedies import (
    RemedyChoice,
    RemedyClosing,
    RemedyPage,
    RemedyView,
    WithdrawnModel,
    WithdrawnModelPage,
)


class RemedyCalls(Calls):
    """Remedies after training."""

    def choose_remedy(self, task: str, policy: RemedyPolicy) -> None:
        """Choose what follows for the models of a task, by its digest, when customers withdraw; officers."""
        self._act("/v1/tasks/remedy", RemedyChoice(task=task, policy=policy))

    def remedies(self, *, waiting: bool = False) -> tuple[RemedyView, ...]:
        """Return what withdrawals ask of models, read page by page; officers, auditors, and a brand of itself."""
        return tuple(self._remedies(waiting=waiting))

    def _remedies(self, *, waiting: bool) -> Iterator[RemedyView]:
        place: dict[str, str | int] = {"waiting": str(waiting).lower()}
        while True:
            page = self._read(RemedyPage, self._get("/v1/remedies", place))
            yield from page.remedies
            if page.cursor is None:
                return
            place["after"] = page.cursor

    def close_remedy(self, closing: RemedyClosing) -> None:
        """Close a remedy with its evidence; officers.

        Raises:
            RemedyRefusedError: the evidence does not show what the policy asks for.
        """
        self._act("/v1/remedies/closing", closing)

    def withdrawn_models(self) -> tuple[WithdrawnModel, ...]:
        """Return the models that nobody may use, read page by page; everybody but operators and customers."""
        return tuple(self._withdrawn_models())

    def _withdrawn_models(self) -> Iterator[WithdrawnModel]:
        place: dict[str, str | int] = {}
        while True:
            page = self._read(WithdrawnModelPage, self._get("/v1/models/withdrawn", place))
            yield from page.models
            if page.cursor is None:
                return
            place["after"] = page.cursor
