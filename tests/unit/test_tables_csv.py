"""Reading a labelled table: what each column is taken for, and one sentence for all that can not be used."""

from pathlib import Path

import numpy as np
import pytest

from consent.contract import CategoricalFeature, NumericFeature
from simulations.errors import InputError
from simulations.tables import LabelledTable, read_table

ROWS = 60


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table(folder: Path, *, header: str = "age,plan,bought", rows: list[str] | None = None) -> Path:
    rows = rows or [f"{20 + number % 37},{'abc'[number % 3]},{number % 2}" for number in range(ROWS)]
    return write(folder, "\n".join([header, *rows]) + "\n")


def column(folder: Path, values: list[str]) -> LabelledTable:
    """Read a table whose column `x` has the given values, beside one that is always usable."""
    rows = [f"{value},{number},{number % 2}" for number, value in enumerate(values)]
    return read_table(table(folder, header="x,count,bought", rows=rows), target="bought")


def test_every_row_is_a_customer_with_its_columns_and_label(tmp_path: Path) -> None:
    read = read_table(table(tmp_path), target="bought")
    assert len(read.customers) == ROWS
    assert len(set(read.customers.customers)) == ROWS
    assert read.features == (
        NumericFeature(name="age", lower=20, upper=56),
        CategoricalFeature(name="plan", levels=("a", "b", "c")),
    )
    np.testing.assert_array_equal(read.customers.columns["age"][:3], [20.0, 21.0, 22.0])
    assert list(read.customers.columns["plan"][:3]) == ["a", "b", "c"]
    assert read.customers.labels is not None
    np.testing.assert_array_equal(read.customers.labels, np.arange(ROWS) % 2)
    assert (read.positive, read.ignored) == ("1", ())


def test_a_column_can_be_left_out(tmp_path: Path) -> None:
    read = read_table(table(tmp_path), target="bought", drop=["plan"])
    assert [feature.name for feature in read.features] == ["age"]
    assert read.ignored == ("plan (dropped on request)",)


@pytest.mark.parametrize(
    ("words", "positive"),
    [
        (("No", "Yes"), "Yes"),
        (("TRUE", "FALSE"), "True"),
        (("n", "y"), "y"),
        (("0", "1"), "1"),
        (("-1", "1"), "1"),
        (("1", "2"), "1"),
        (("3", "2"), "3"),
        (("<=50K", ">50K"), ">50K"),
    ],
)
def test_the_positive_class_is_found(words: tuple[str, str], positive: str, tmp_path: Path) -> None:
    """A word for yes, else the larger number, else the rarer value (the last word here is the rarer)."""
    rows = [f"{number},{words[number % 3 == 2]}" for number in range(ROWS)]
    read = read_table(table(tmp_path, header="age,bought", rows=rows), target="bought")
    assert read.positive == positive


def test_rows_without_a_target_are_left_out(tmp_path: Path) -> None:
    rows = [f"{number},{['0', '1', ''][number % 3]}" for number in range(ROWS)]
    read = read_table(table(tmp_path, header="age,bought", rows=rows), target="bought")
    assert len(read.customers) == ROWS - ROWS // 3


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([""] * ROWS, "missing in every row"),
        (["   "] * ROWS, "missing in every row"),
        (["same"] * ROWS, "the same in every row"),
        ([f"user-{number}" for number in range(150)], "150 distinct values look like identifiers"),
    ],
)
def test_a_column_that_says_nothing_is_left_out_with_the_reason(
    values: list[str], reason: str, tmp_path: Path
) -> None:
    read = column(tmp_path, values)
    assert [feature.name for feature in read.features] == ["count"]
    assert reason in read.ignored[0]


def test_numbers_with_a_few_blanks_and_words_are_numbers(tmp_path: Path) -> None:
    read = column(tmp_path, [str(number / 7) for number in range(57)] + ["", " ", "unknown"])
    assert isinstance(read.features[0], NumericFeature)
    assert np.isnan(read.customers.columns["x"][-3:].astype(float)).all()
    read = column(tmp_path, ["1e400", "-inf", *(str(number) for number in range(ROWS))])
    assert read.features[0] == NumericFeature(name="x", lower=0, upper=ROWS - 1)


def test_a_heavy_tail_gets_a_log_scale_and_few_numbers_are_levels(tmp_path: Path) -> None:
    tail = column(tmp_path, [str(number) for number in range(200)] + ["1000000"])
    assert tail.features[0] == NumericFeature(name="x", lower=0, upper=1_000_000, scale="log")
    few = column(tmp_path, [str(number % 4) for number in range(ROWS)])
    assert few.features[0] == CategoricalFeature(name="x", levels=("0", "1", "2", "3"))


def test_a_byte_order_mark_and_spaces_after_commas_are_not_part_of_a_value(tmp_path: Path) -> None:
    rows = [f"{number}, {'ab'[number % 2]}, {number % 2}" for number in range(ROWS)]
    path = write(tmp_path, "\ufeff" + "\n".join(["age,plan,bought", *rows]))
    read = read_table(path, target="bought")
    assert [feature.name for feature in read.features] == ["age", "plan"]
    assert read.features[1] == CategoricalFeature(name="plan", levels=("a", "b"))


def rows_with(*fields: str) -> list[str]:
    return [",".join([str(number), *(field.format(number % 2) for field in fields)]) for number in range(ROWS)]


BAD = {
    "no file": (lambda folder: folder / "nothing.csv", "There is no file"),
    "a folder": (lambda folder: folder, "There is no file"),
    "empty file": (lambda folder: write(folder, ""), "is empty"),
    "blank lines": (lambda folder: write(folder, "\n\n\n"), "is empty"),
    "header only": (lambda folder: write(folder, "age,plan,bought\n"), "a header but no rows"),
    "binary": (lambda folder: write(folder, bytes(range(256)) * 40), "not a CSV file in UTF-8"),  # type: ignore[arg-type]
    "ragged": (lambda folder: write(folder, "age,bought\n1,0\n2,1,3,4,5\n"), "not a CSV file"),
    "no target": (lambda folder: table(folder, header="age,plan,sold"), "no column 'bought'"),
    "one class": (lambda folder: table(folder, header="age,bought", rows=rows_with("1")), "one class only"),
    "three classes": (
        lambda folder: table(folder, header="age,bought", rows=[f"{n},{n % 3}" for n in range(ROWS)]),
        "3 distinct values",
    ),
    "target missing": (
        lambda folder: table(folder, header="age,bought", rows=rows_with("")),
        "missing in every row",
    ),
    "no features": (
        lambda folder: table(folder, header="bought", rows=["0", "1"] * 9),
        "no usable feature column",
    ),
    "all features missing": (
        lambda folder: table(folder, header="id,x,bought", rows=[f",,{n % 2}" for n in range(ROWS)]),
        "no usable feature column",
    ),
    "a name that is too long": (
        lambda folder: table(folder, header=f"{'x' * 129},bought", rows=rows_with("{}")),
        "its name has over 128 characters",
    ),
    "too many columns": (
        lambda folder: table(
            folder,
            header=",".join([*(f"c{n}" for n in range(513)), "bought"]),
            rows=[",".join(str((n * 7 + c) % 37) for c in range(513)) + f",{n % 2}" for n in range(ROWS)],
        ),
        "513 usable columns",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_used_is_one_sentence(case: str, tmp_path: Path) -> None:
    make, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        read_table(make(tmp_path), target="bought")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_target_can_not_be_dropped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can not be dropped"):
        read_table(table(tmp_path), target="bought", drop=["bought"])
    with pytest.raises(InputError, match="no column 'colour'"):
        read_table(table(tmp_path), target="bought", drop=["colour"])
