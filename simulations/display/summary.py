"""The one table that a demo ends in."""

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulations.display import wording
from simulations.results import BrandScore, DemoResult

WIDTH = 98
_BAD = "bold red"
_GOOD = "bold green"


def demo_table(result: DemoResult) -> RenderableType:
    """Lay out a demo's results as one table of at most 100 columns.

    Names are shown as they are: nothing in them is taken for markup.
    """
    table = Table(box=ROUNDED, show_header=False, show_lines=True, width=WIDTH, border_style="dim")
    table.title = Text(f"Run {result.run_id}, {result.seconds:.0f} s", "bold")
    table.add_column(style="bold", width=15)
    table.add_column(overflow="fold")
    table.add_row("AUC on held-out\ncustomers", _scores(result))
    table.add_row("Privacy budget", _budget(result))
    table.add_row("Withdrawals", _withdrawals(result))
    table.add_row("Decisions", _decisions(result))
    table.add_row("Audit log", _log(result))
    return table


def _scores(result: DemoResult) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 1), expand=True)
    table.add_column("brand", header_style="dim", overflow="fold", ratio=1)
    table.add_column("customers", header_style="dim", justify="right")
    table.add_column("federated,\nprivate", header_style="bold cyan", style="bold cyan", justify="right")
    table.add_column("brand alone,\nprivate", header_style="dim", justify="right")
    table.add_column("pooled,\nnot private", header_style="dim", justify="right")
    for item in result.scores:
        last = item is wording.overall(result)
        if last:
            table.add_section()
        table.add_row(*_score_cells(item), style="bold" if last else "")
    return Group(table, Text(f"\n{wording.POOLED_NOTE}", "dim"))


def _score_cells(item: BrandScore) -> list[Text | str]:
    scores = (item.federated, item.alone, item.pooled)
    return [Text(item.name), wording.count(item.customers), *(wording.score(value) for value in scores)]


def _budget(result: DemoResult) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    table.add_column()
    for item in result.spends:
        over = item.epsilon > item.ceiling
        table.add_row(Text(item.purpose), Text(wording.spend(item), _BAD if over else ""))
    unit = Text("spent by each customer of a brand, at most", "dim")
    warning = [] if result.guaranteed else [Text(wording.NO_GUARANTEE, _BAD)]
    return Group(table, unit, *warning)


def _withdrawals(result: DemoResult) -> RenderableType:
    lines = [Text(wording.wave(item), _BAD if wording.used_later(item) else "") for item in result.withdrawals]
    return Group(Text(f"{wording.count(wording.withdrawn(result))} customers in all"), *lines)


def _decisions(result: DemoResult) -> RenderableType:
    item = result.lift
    conclusion = Text(wording.lift_verdict(item), "dim")
    return Group(Text(f"lift {wording.lift(item)}"), conclusion, Text(wording.arms(item), "dim"))


def _log(result: DemoResult) -> RenderableType:
    log = result.log
    return Group(
        Text(f"{wording.count(log.size)} entries, root {log.root}"),
        Text(wording.verdict(log), _GOOD if log.verified else _BAD),
    )
