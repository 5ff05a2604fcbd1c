"""What `confide demo` and `confide simulate` do."""

import json as json_format
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from client.errors import ClientError
from consent.errors import ConsentError
from consent.files import write_atomically
from privacy.errors import PrivacyError
from server.errors import ServerError
from simulations.audits import Audit
from simulations.errors import InputError, SimulationError
from simulations.noise import NO_GUARANTEE
from simulations.quiet import quiet_libraries
from simulations.run_folder import open_folder
from simulations.simulate.options import Mode, SimulateOptions, Trust, check_options, epsilons
from simulations.simulate.summary import SeedResult, document
from simulations.split import Split
from simulations.tables import LabelledTable, read_table

BAD_INPUT, FAILED = 2, 1
REPORT = "report.html"
RESULT = "result.json"
TABLE_WIDTH = 100
RunsDir = Annotated[Path, typer.Option(help="Folder that runs are kept in.")]
RunId = Annotated[str | None, typer.Option(help="Name of the run; one that was stopped goes on where it was.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the results to this file as JSON.")]
NoiseSeed = Annotated[
    int | None, typer.Option(help="Draw noise from a seed: repeatable, and WITHOUT any privacy guarantee.")
]


def simulate(
    csv: Annotated[Path, typer.Option(help="CSV file with a header, one customer a row.")],
    target: Annotated[str, typer.Option(help="Column to predict; it must have two values.")],
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out; may be given again.")] = None,
    brands: Annotated[int, typer.Option(help="Number of brands.")] = 5,
    split: Annotated[Split, typer.Option(help="How customers fall to brands.")] = Split.IID,
    epsilon: Annotated[float, typer.Option(help="Epsilon per customer, over all rounds.")] = 1.0,
    delta: Annotated[float, typer.Option(help="Delta of the guarantee.")] = 1e-6,
    seeds: Annotated[int, typer.Option(help="How many splits to run.")] = 3,
    rounds: Annotated[int, typer.Option(help="Gradient rounds; one round of marginals comes before.")] = 40,
    minimum_cohort: Annotated[int, typer.Option(help="Fewest customers a brand may train on.")] = 50,
    noise_seed: NoiseSeed = None,
    mode: Annotated[
        Mode, typer.Option(help="Each brand its own noise, or one sum with shared noise.")
    ] = Mode.LOCAL,
    dropouts: Annotated[int, typer.Option(help="Brands that may fail in a round, if distributed.")] = 0,
    colluders: Annotated[int, typer.Option(help="Brands whose noise is not counted on, if distributed.")] = 1,
    brands_per_customer: Annotated[int, typer.Option(help="Most brands that one customer is at.")] = 1,
    audit: Annotated[bool, typer.Option(help="Measure with canaries what was released.")] = True,
    runs: RunsDir = Path("runs"),
    run_id: RunId = None,
    json: JsonFile = None,
) -> None:
    """Deal a labelled customer table out to brands and train across them, as deployed."""
    trust = Trust(mode, dropouts, colluders, brands_per_customer)
    options = SimulateOptions(
        csv,
        target,
        tuple(drop or ()),
        brands,
        split,
        epsilon,
        delta,
        seeds,
        rounds,
        minimum_cohort,
        noise_seed,
        trust,
    )
    name = run_id or f"simulate-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    console = Console()
    with _sentences(name):
        _check_output(json)
        table = read_table(csv, target=target, drop=options.drop)
        check_options(options, table)
        folder = _run_folder(runs, name)
        open_folder(folder, options.document())
        quiet_libraries()
        _describe(console, table, folder)
        results = _run_seeds(options, table, folder)
        found = document(options, results, epsilons(options, table), _audited(options, table) if audit else None)
        _print_results(console, options, results[-1], found)
        content = json_format.dumps(found, indent=2).encode() + b"\n"
        for path in (folder / RESULT, *([json] if json is not None else [])):
            write_atomically(path, content)


def demo(
    epsilon: Annotated[float, typer.Option(help="Epsilon per customer, over all rounds.")] = 1.0,
    scale: Annotated[float, typer.Option(help="Size of the brands; 1 is about 15,000 customers in all.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic brands; noise is never drawn from it.")] = 7,
    noise_seed: NoiseSeed = None,
    runs: RunsDir = Path("runs"),
    run_id: RunId = None,
    json: JsonFile = None,
) -> None:
    """Run five synthetic brands from events and opt-ins to a shared private model and decisions."""
    from simulations.demo import DemoOptions, check_demo, run_demo  # noqa: PLC0415 - seconds to load
    from simulations.display import LiveProgress, demo_table, write_report  # noqa: PLC0415 - seconds to load

    name = run_id or f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    console = Console()
    with _sentences(name):
        _check_output(json)
        options = DemoOptions(run_id=name, seed=seed, scale=scale, epsilon=epsilon, noise_seed=noise_seed)
        check_demo(options)
        folder = _run_folder(runs, name)
        open_folder(folder, options.document())
        quiet_libraries()
        with LiveProgress(console) as progress:
            result = run_demo(options, folder, progress)
        _wide(console).print(demo_table(result))
        report = folder / REPORT
        write_report(result, report)
        console.print(f"report: {report.absolute()}", highlight=False, soft_wrap=True)
        _print_verify(console, result.log.path, result.log.vkey)
        if json is not None:
            write_atomically(json, json_format.dumps(asdict(result), indent=2).encode() + b"\n")


def _run_seeds(options: SimulateOptions, table: LabelledTable, folder: Path) -> list[SeedResult]:
    from simulations.simulate.run import run_seed  # noqa: PLC0415 - a wrong path need not wait for torch

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epsilon {task.fields[epsilon]:.3f}"),
        TimeElapsedColumn(),
    )
    results = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for seed in range(options.seeds):
            bar = progress.add_task(f"seed {seed}", total=options.rounds + 1, epsilon=0.0)
            results.append(
                run_seed(options, table, seed, folder=folder / f"seed-{seed}", tell=_teller(progress, bar))
            )
    return results


def _teller(progress: Progress, bar: int) -> Callable[[int, int, float], None]:
    def tell(_seed: int, round_number: int, epsilon: float) -> None:
        progress.update(progress.task_ids[bar], completed=round_number + 1, epsilon=epsilon)

    return tell


def _describe(console: Console, table: LabelledTable, folder: Path) -> None:
    console.print(f"run {folder.name} in {folder}; the same --run-id goes on with it", highlight=False)
    console.print(
        f"{len(table.customers)} customers, {len(table.features)} features; the target is {table.positive!r}. "
        "Types, bounds and levels are read off the file and taken as public; a deployed task declares them.",
        highlight=False,
    )
    for reason in table.ignored:
        console.print(f"left out: {reason}", highlight=False, markup=False)


def _print_results(
    console: Console, options: SimulateOptions, result: SeedResult, found: Mapping[str, Any]
) -> None:
    table = Table(title=f"Held-out AUC, {options.seeds} seeds, {options.split} split")
    for heading in ("brand", "customers", "AUC"):
        table.add_column(heading, justify="left" if heading == "brand" else "right")
    for brand in found["brands"]:
        score = "-" if brand["auc"] is None else f"{brand['auc']:.4f}"
        table.add_row(brand["name"], str(brand["customers"]), score)
    table.add_section()
    table.add_row("all brands", "", f"{found['auc']:.4f} ± {found['auc_std']:.4f}")
    console.print(table)
    guarantee = NO_GUARANTEE if options.noise_seed is not None else "Noise came from the system's CSPRNG."
    console.print(
        f"epsilon {found['epsilon']:.4f} at delta {options.delta:g}, per customer at {_brands(options.trust)}, "
        f"over all {found['rounds']} rounds. {guarantee}",
        highlight=False,
    )
    console.print(_trust(options.trust, result), highlight=False)
    console.print(_audit(found["audit"]), highlight=False)
    last = result.log
    verdict = "verified" if last.verified else "NOT VERIFIED"
    console.print(f"log: {last.size} entries, {verdict}", highlight=False)
    _print_verify(console, last.path, last.vkey)


def _audited(options: SimulateOptions, table: LabelledTable) -> Audit | None:
    from simulations.simulate.audit import audit_run  # noqa: PLC0415 - a wrong path need not wait for torch

    return audit_run(options, table)


def _audit(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "audit: none; it was left out, or the sums have too few directions for canaries."
    bound = max(found["one_run"], found["gaussian"])
    verdict = "below" if bound <= found["claimed"] else "ABOVE"
    noise = "as stated" if found["holds"] or bound > found["claimed"] else "NOT as stated"
    return (
        f"audit: {found['canaries']} canaries show an epsilon of at least {bound:.2f} (95 %), {verdict} the "
        f"{found['claimed']:.2f} that is claimed; the noise is {noise}."
    )


def _brands(trust: Trust) -> str:
    most = trust.brands_per_customer
    return "one brand" if most == 1 else f"up to {most} brands"


def _trust(trust: Trust, result: SeedResult) -> str:
    """Say who could see what, and how much noise there was."""
    least, most = min(result.noise), max(result.noise)
    noise = f"{least:.2f}" if least == most else f"{least:.2f} to {most:.2f}"
    if trust.mode is Mode.LOCAL:
        return f"mode local: every brand's sum has all the noise, the sum over brands {noise} times that."
    return (
        f"mode distributed: only sums over brands were opened; each had {noise} times the noise that is accounted "
        f"for (dropouts {trust.dropouts}, colluders {trust.colluders})."
    )


def _wide(console: Console) -> Console:
    """Return a console that fits the demo's table also where the output is a file."""
    return console if console.is_terminal else Console(width=max(console.width, TABLE_WIDTH))


def _print_verify(console: Console, log: str, vkey: str) -> None:
    command = shlex.join([sys.argv[0], "audit", "verify", log, "--vkey", vkey])
    console.print(f"verify it yourself: {command}", highlight=False, soft_wrap=True)


def _run_folder(runs: Path, name: str) -> Path:
    if not name or name.startswith(".") or not all(part.isalnum() or part in "-_." for part in name):
        raise InputError(f"A run id has letters, digits, dots, dashes and underscores only, not {name!r}.")
    _require_writable(next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists()))
    return runs / name


def _check_output(json: Path | None) -> None:
    if json is None:
        return
    if json.is_dir():
        raise InputError(f"{json} is a folder; name a file to write the results to.")
    if not json.absolute().parent.is_dir():
        raise InputError(f"There is no folder {json.absolute().parent} to write {json.name} into; create it.")
    _require_writable(json.absolute().parent)


def _require_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{folder} can not be written to ({error.strerror}); name another folder.") from None


@contextmanager
def _sentences(run_id: str) -> Iterator[None]:
    """Turn every error that was raised on purpose into one sentence and an exit code."""
    try:
        yield
    except InputError as error:
        _stop(str(error), BAD_INPUT)
    except (SimulationError, ServerError, ClientError, ConsentError, PrivacyError) as error:
        _stop(f"{error} Go on with --run-id {run_id}.", FAILED)


def _stop(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    sys.exit(code)
