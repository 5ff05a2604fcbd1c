"""The demo's brands: generated files taken in by each brand's own event store."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.agent.consent_desk import CustomerChoice
from client.agent.sources import EventSource, TableSource
from client.events import EventStore
from client.features import CustomerTable
from client.identity import IdentityGraph
from consent.contract import Act, Channel, TaskSpec
from consent.files import write_atomically
from simulations.synthetic import FIVE_BRANDS, SyntheticBrand, generate

EVENTS = "events.duckdb"
INTAKE = "intake.json"


@dataclass(frozen=True, eq=False)
class DemoBrand:
    """One brand: what was generated, what its event store took in, and its customers as a training source."""

    synthetic: SyntheticBrand
    store: EventStore
    graph: IdentityGraph
    everyone: CustomerTable
    """Every customer as of the cut-off, those set aside included; extracted once."""
    source: TableSource
    intake: Mapping[str, int]

    def granted(self, purpose: str) -> frozenset[str]:
        """Return the customers whose exported choices leave a grant of a purpose standing."""
        acts = {Act.GRANT: set[str](), Act.WITHDRAW: set[str]()}
        for said in self._said():
            if said.get("purpose") == purpose:
                acts[Act(said["act"])].add(said["customer"])
        return frozenset(acts[Act.GRANT] - acts[Act.WITHDRAW])

    def choices(self, notices: Mapping[str, str]) -> Iterator[CustomerChoice]:
        """Yield what the brand's customers said, in order; `notices` has the hash of each purpose's notice."""
        for said in self._said():
            channel, notice = said.get("channel"), said.get("notice")
            yield CustomerChoice(
                customer=said["customer"],
                act=Act(said["act"]),
                purpose=said.get("purpose"),
                channel=Channel(channel) if channel else None,
                notice=notices[notice] if notice and said["act"] == Act.GRANT else None,
            )

    def _said(self) -> Iterator[dict[str, str]]:
        with self.synthetic.consents.open() as lines:
            for line in lines:
                yield json.loads(line)


def generate_brands(folder: Path, *, seed: int, scale: float) -> list[SyntheticBrand]:
    """Write all brands' files; the same seed writes the same bytes."""
    streams = np.random.default_rng(seed).spawn(len(FIVE_BRANDS))
    return [
        generate(profile, stream, folder / profile.name / "exports", scale)
        for profile, stream in zip(FIVE_BRANDS, streams, strict=True)
    ]


def take_in(synthetic: SyntheticBrand, folder: Path, task: TaskSpec) -> DemoBrand:
    """Take a brand's files into its event store, once, and extract its customers for a task."""
    store = EventStore(folder / EVENTS)
    report_file = folder / INTAKE
    if not report_file.exists():
        write_atomically(report_file, json.dumps(_ingest(store, synthetic)).encode())
    graph = IdentityGraph(store)
    graph.refresh()
    everyone = EventSource(graph, synthetic.cutoff).training_table(task)
    return DemoBrand(
        synthetic=synthetic,
        store=store,
        graph=graph,
        everyone=everyone,
        source=TableSource(everyone, set_aside=synthetic.held_out),
        intake=json.loads(report_file.read_text()),
    )


def _ingest(store: EventStore, synthetic: SyntheticBrand) -> dict[str, int]:
    total = {"received": 0, "kept": 0, "duplicates": 0, "rejected": 0}
    for source, path in synthetic.sources.items():
        report = store.ingest(path, source)
        total["received"] += report.received
        total["kept"] += report.kept
        total["duplicates"] += report.duplicates
        total["rejected"] += sum(report.rejected.values())
    return total
