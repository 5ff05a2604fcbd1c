"""Figures as SVG inside a page: fonts and colours are the page's, and nothing outside it is referred to."""

import html
import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType


@dataclass(frozen=True)
class Palette:
    """The colours of figures and page, as #rrggbb. Contrast with paper: text at least 4.5, marks at least 3."""

    ink: str
    muted: str
    faint: str
    rule: str
    wash: str
    accent: str
    bad: str
    paper: str


LIGHT = Palette(
    ink="#1b1f24",
    muted="#59626c",
    faint="#7f8994",
    rule="#dde1e5",
    wash="#eef1f3",
    accent="#0b6a73",
    bad="#b3261e",
    paper="#fefefe",
)
DARK = Palette(
    ink="#e7eaed",
    muted="#a3adb7",
    faint="#7d8894",
    rule="#343b43",
    wash="#22282e",
    accent="#5cc4cf",
    bad="#ff8a80",
    paper="#15191d",
)

_STYLE: dict[RcKeyType, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LIGHT.rule,
    "axes.grid": True,
    "axes.labelcolor": LIGHT.muted,
    "axes.labelsize": 8.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": LIGHT.ink,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 8.5,
    "grid.color": LIGHT.rule,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": LIGHT.muted,
    "svg.fonttype": "none",
    "text.color": LIGHT.ink,
    "text.parse_math": False,
    "xtick.color": LIGHT.rule,
    "xtick.labelcolor": LIGHT.muted,
    "xtick.major.size": 3,
    "ytick.color": LIGHT.rule,
    "ytick.labelcolor": LIGHT.muted,
    "ytick.major.size": 0,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_IDENTIFIER = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(?:xlink:)?href="#([^"]+)"')
_FRAGMENT = re.compile(r"url\(#([^)]+)\)")
_OPENING = re.compile(r"<svg\b[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="[^"]+"')


def house_style() -> AbstractContextManager[None]:
    """Return a context in which figures are made in the house's style, and text is never taken for mathematics."""
    return mpl.rc_context(_STYLE)


def inline_svg(figure: Figure, *, key: str, label: str) -> str:
    """Render a figure as an <svg> element.

    Args:
        figure: made under `house_style`.
        key: letters and hyphens, unique on the page; keeps the identifiers of figures apart.
        label: what the figure shows, for those who do not see it.

    Returns:
        An element without size: it fills what it is put in. Colours of `LIGHT` have become CSS variables.
    """
    stream = io.StringIO()
    style: dict[RcKeyType, object] = {"svg.hashsalt": key}
    with house_style(), mpl.rc_context(style):
        figure.savefig(stream, format="svg", metadata=_NO_METADATA)
    drawn = stream.getvalue()
    drawn = _own_identifiers(drawn[drawn.index("<svg") :], key)
    for name, value in asdict(LIGHT).items():
        drawn = drawn.replace(value, f"var(--{name})")
    return _open_for_page(drawn, label)


def _own_identifiers(drawn: str, key: str) -> str:
    used: Iterable[str] = {*_REFERENCE.findall(drawn), *_FRAGMENT.findall(drawn)}
    drawn = _IDENTIFIER.sub(lambda match: f'id="{key}-{match[1]}"' if match[1] in used else "", drawn)
    drawn = _REFERENCE.sub(rf'href="#{key}-\1"', drawn)
    return _FRAGMENT.sub(rf"url(#{key}-\1)", drawn)


def _open_for_page(drawn: str, label: str) -> str:
    opening = _OPENING.search(drawn)
    box = _VIEW_BOX.search(drawn)
    if opening is None or box is None:
        raise ValueError("The figure was not drawn as SVG; check the installed version of matplotlib.")
    return f'<svg role="img" aria-label="{html.escape(label)}" {box[0]}>{drawn[opening.end() :]}'
