"""A demo as one page: nothing is loaded from elsewhere, nothing runs, and it can be sent, printed and kept."""

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from shlex import quote

from jinja2 import Environment, StrictUndefined

from consent.files import write_atomically
from simulations.display import wording
from simulations.display.figures import figures
from simulations.display.svg import DARK, LIGHT
from simulations.results import DemoResult

_TEMPLATE = "report.html"


def render_report(result: DemoResult) -> str:
    """Render a self-contained HTML page; the same result gives the same page.

    The page's own Content-Security-Policy allows inline style and data images only, and every text is escaped.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(
        result=result,
        overall=wording.overall(result),
        training=wording.training_spend(result),
        brands=len(result.scores) - 1 if result.scores else 0,
        counted=_counted(result),
        figures=figures(result),
        verify=f"confide audit verify {quote(result.log.path)} --vkey {quote(result.log.vkey)}",
        wording=wording,
        light=asdict(LIGHT),
        dark=asdict(DARK),
    )


def write_report(result: DemoResult, path: Path) -> None:
    """Write the page, so that a reader sees the old one or the new one and nothing between."""
    write_atomically(path, render_report(result).encode())


def _counted(result: DemoResult) -> tuple[str, ...]:
    """Return every kind of intake count that some brand has, in order of appearance."""
    return tuple(dict.fromkeys(kind for counts in result.intake.values() for kind in counts))
