"""Every unit of work says whose it is: on PostgreSQL, one of a brand can touch that brand's rows alone.

Units share a transaction and are told apart by savepoints, so each of them sets role and brand anew, also where
it serves all brands. Both are local to the transaction and end with it. SQLite has no such walls.
"""

from consent.store.driver import Transaction, connection_of
from consent.store.tenancy import TENANT

ALL_BRANDS = "none"
ENTER = "SELECT set_config('role', %s, true), set_config('confide.brand', %s, true)"


def enter(transaction: Transaction, brand: str | None) -> None:
    """Let a transaction touch one brand's rows from here on, or with None those of all."""
    connection = connection_of(transaction)
    if connection.dialect.name == "postgresql":
        role = ALL_BRANDS if brand is None else TENANT
        connection.exec_driver_sql(ENTER, (role, brand or "")).close()
