"""What officers, and brands about themselves, look at: counts, budgets, use made of a customer, and the log."""

from consent.client.calls import Calls
from consent.searching import LogPage, LogQuery
from consent.wire import (
    Budget,
    BudgetsView,
    CoverageView,
    Participation,
    ParticipationPage,
    ParticipationRequest,
    PurposeCoverage,
)


class OversightCalls(Calls):
    """Looks at a brand, its customers and the log."""

    def coverage(self, brand: str) -> tuple[PurposeCoverage, ...]:
        """Count what a brand's customers said; officers, and the brand."""
        return self._read(CoverageView, self._get(f"/v1/brands/{brand}/coverage")).purposes

    def budgets(self, brand: str) -> tuple[Budget, ...]:
        """Return spent, reserved and approved epsilon per purpose; officers, coordinators, the brand."""
        return self._read(BudgetsView, self._get(f"/v1/brands/{brand}/budgets")).budgets

    def participation(self, brand: str, subject: str) -> tuple[Participation, ...]:
        """Return the rounds that could use a customer, read page by page; officers, and the brand."""
        body = ParticipationRequest(brand=brand, subject=subject)
        rounds: list[Participation] = []
        while True:
            page = self._read(ParticipationPage, self._ask("/v1/subjects/participation", body))
            rounds += page.rounds
            if page.cursor is None:
                return tuple(rounds)
            body = body.model_copy(update={"after": page.cursor})

    def search_log(self, query: LogQuery) -> LogPage:
        """Return a page of log entries, which is logged; officers, and a brand about itself."""
        return self._read(LogPage, self._ask("/v1/log/search", query))

    def checkpoint(self) -> str:
        """Return the log's signed checkpoint, to be kept and compared later."""
        return self._get("/v1/log/checkpoint").decode()
