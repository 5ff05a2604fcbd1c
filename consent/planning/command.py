"""What `confide privacy` does."""

import json as json_format
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from consent.contract import Label, NumericFeature, PrivacyTarget, SolverSettings, TaskSpec
from consent.files import write_atomically
from consent.planning.plan import plan_budget
from consent.planning.tables import tables
from privacy.errors import PrivacyError
from privacy.secure_sum.scheme import MAX_BRANDS

BAD_INPUT = 2
TABLE_WIDTH = 100
MAX_CUSTOMERS = 10**9
MAX_FEATURES = 512

privacy = typer.Typer(help="Budgets of epsilon before anything is spent.", no_args_is_help=True)


class Mode(StrEnum):
    """Where noise is added."""

    LOCAL = "local"
    DISTRIBUTED = "distributed"


@privacy.callback()
def _privacy() -> None:
    """Budgets of epsilon before anything is spent."""


@privacy.command()
def plan(
    brands: Annotated[int, typer.Option(help="Brands of the run.")] = 5,
    customers: Annotated[int, typer.Option(help="Opted-in customers of all brands together.")] = 10_000,
    task: Annotated[Path | None, typer.Option(help="Task as JSON; it has all that is asked for below.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Epsilon over all rounds; 1 if not given.")] = None,
    delta: Annotated[float | None, typer.Option(help="Delta of the guarantee; 1e-6 if not given.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Gradient rounds; 40 if not given.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Trust mode; distributed if not given.")] = None,
    dropouts: Annotated[int | None, typer.Option(help="Brands that may fail in a round.")] = None,
    colluders: Annotated[int | None, typer.Option(help="Brands whose noise is not counted on.")] = None,
    brands_per_customer: Annotated[int | None, typer.Option(help="Most brands that a customer is at.")] = None,
    features: Annotated[int | None, typer.Option(help="Numeric features; 20 if not given.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the plan to this file as JSON.")] = None,
) -> None:
    """Say what a budget buys: noise and epsilon of every round, expected errors, local beside distributed."""
    target = _given(
        epsilon=epsilon,
        delta=delta,
        trust_mode=mode and mode.value,
        dropouts=dropouts,
        colluders=colluders,
        max_brands_per_customer=brands_per_customer,
    )
    asked = _task(task, target, _given(rounds=rounds, features=features))
    _require("--brands", brands, MAX_BRANDS)
    _require("--customers", customers, MAX_CUSTOMERS)
    _tell(asked, brands, customers, json)


def _tell(task: TaskSpec, brands: int, customers: int, json: Path | None) -> None:
    if json is not None and json.is_dir():
        _stop(f"{json} is a folder; name a file to write the plan to.")
    try:
        found = plan_budget(task, brands=brands, customers=customers)
        if json is not None:
            write_atomically(json, json_format.dumps(asdict(found), indent=2).encode() + b"\n")
    except PrivacyError as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"{json} can not be written ({error.strerror}); name another file.")
    console = Console()
    wide = console if console.is_terminal else Console(width=max(console.width, TABLE_WIDTH))
    for part in tables(found):
        wide.print(part, highlight=False)


def _given(**options: Any) -> dict[str, Any]:  # noqa: ANN401 - what the task's fields take
    return {name: value for name, value in options.items() if value is not None}


def _task(file: Path | None, target: dict[str, Any], settings: dict[str, Any]) -> TaskSpec:
    """Return the task of a file, or the one that the options describe."""
    if file is not None and (target or settings):
        _stop("Give --task, or epsilon and the like, not both: the task's file has all of them.")
    try:
        if file is not None:
            return TaskSpec.model_validate_json(file.read_bytes())
        return _described(target, settings)
    except ValidationError as error:
        first = error.errors()[0]
        _stop(f"{'.'.join(str(part) for part in first['loc']) or 'The task'}: {first['msg']}.")
    except OSError as error:
        _stop(f"{file} can not be read ({error.strerror}).")


def _described(target: dict[str, Any], settings: dict[str, Any]) -> TaskSpec:
    features = settings.pop("features", 20)
    _require("--features", features, MAX_FEATURES)
    names = [f"feature {number}" for number in range(features)]
    return TaskSpec(
        task_id="plan",
        purpose="plan",
        features=tuple(NumericFeature(name=name, lower=0, upper=1) for name in names),
        label=Label(name="label"),
        privacy=PrivacyTarget(**{"epsilon": 1.0, "delta": 1e-6, "trust_mode": "distributed", **target}),
        solver=SolverSettings(**settings),
    )


def _require(option: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        _stop(f"{option} must be from 1 to {most}, got {value}.")


def _stop(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    sys.exit(BAD_INPUT)
