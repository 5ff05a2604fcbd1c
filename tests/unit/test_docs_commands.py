"""Every command that a document shows exists, with the options that it shows; every link leads somewhere."""

import re
import shlex
from pathlib import Path

import click
import pytest
from typer.main import get_command

import confide
from simulations.bench.__main__ import BENCHMARKS

ROOT = Path(confide.__file__).parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+?)(?:#[^)]*)?\)")


def shown_commands() -> list[tuple[str, list[str]]]:
    """Return each document's `confide ...` and `make ...` lines, without comments."""
    found = []
    for document in DOCUMENTS:
        for block in BLOCK.findall(document.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in {"confide", "make"}:
                    found.append((str(document.relative_to(ROOT)), words))
    return found


COMMANDS = shown_commands()


def test_the_documents_show_commands() -> None:
    assert {words[0] for _, words in COMMANDS} == {"confide", "make"}
    assert {words[1] for _, words in COMMANDS if words[0] == "confide"} >= {
        "simulate",
        "audit",
        "agent",
        "consent",
    }


@pytest.mark.parametrize(
    ("document", "words"), COMMANDS, ids=lambda value: value if isinstance(value, str) else None
)
def test_a_shown_command_can_be_typed(document: str, words: list[str]) -> None:
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words[1:]) <= targets, document
    else:
        parse(get_command(confide.app), words[1:])


def parse(command: click.Command, words: list[str]) -> None:
    """Follow sub-commands, then let the last one parse its arguments without running it."""
    if isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"there is no command {words[0]}"
        parse(found, words[1:])
        return
    command.make_context(command.name, [*words], resilient_parsing=False)


def test_make_bench_runs_every_benchmark() -> None:
    named = re.findall(r"-m simulations\.bench (\w+) ", (ROOT / "Makefile").read_text())
    assert sorted(named) == sorted(BENCHMARKS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
