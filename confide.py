"""The command `confide`: it binds the commands that each room registers, and does nothing itself."""

from importlib.metadata import EntryPoint, entry_points

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

GROUP = "confide.commands"


class RoomCommands(TyperGroup):
    """Loads a room's command only when it is asked for, so that a light one does not wait for heavy ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all registered commands."""
        del ctx
        return sorted(_registered())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command, or None when no room registers it."""
        del ctx
        entry = _registered().get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        if not isinstance(command, typer.Typer):
            single = typer.Typer(pretty_exceptions_enable=False)
            single.command(cmd_name)(command)
            command = single
        loaded = get_command(command)
        loaded.name = cmd_name
        return loaded


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


app = typer.Typer(cls=RoomCommands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.callback()
def _confide() -> None:
    """Brands personalize together without pooling their customers' data."""


def main() -> None:
    """Run the command line."""
    app()
