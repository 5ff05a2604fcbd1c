"""The Flower ServerApp: it finds its settings, runs the coordinator over Flower's grid, and is done."""

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.assembly import coordinator_from_settings
from server.coordinator import Coordinator


def build_server_app(coordinator_for: Callable[[Context], Coordinator]) -> ServerApp:
    """Return a ServerApp that runs the coordinator that `coordinator_for` makes."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        coordinator_for(context).run(grid)

    return app


app = build_server_app(coordinator_from_settings)
