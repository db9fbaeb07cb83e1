"""What a table is: a file of a few lines, and the cells that it stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen

from protolens.config import RunConfig, build, merge, option, read_recipe, read_run
from protolens.errors import ProtolensError, did_you_mean
from protolens.evaluation.comparing import BLACK_BOXES
from protolens.files import as_part_of_a_name

Kind = Literal["robustness", "gap", "uncertainty"]


@dataclass(frozen=True)
class Table:
    """The settings of a table file. Paths are those of the working directory, as everywhere on the command line."""

    title: str = option("", "what stands above the page; else the name of the file")
    models: Annotated[tuple[str, ...], MinLen(1)] = option((), "recipes that come along, or TOML files")
    seeds: Annotated[tuple[int, ...], MinLen(1)] = option((0, 1, 2), "seeds that each model is trained with")
    data: tuple[str, ...] = option((), "data sets that each model is trained on; else that of its recipe")
    convert: tuple[Literal["kmex", "concepts"], ...] = option((), "what each run is converted to as well")
    runs: str = option("runs", "folder of the runs: RECIPE-SEED, RECIPE-SEED-kmex, or RECIPE-DATA-SEED")
    settings: dict[str, dict[str, Any]] = option({}, "changes to a recipe, or to a conversion such as kmex")
    measure: tuple[Kind, ...] = option((), "what is measured of each run beside its evaluation")
    images: Annotated[int, Ge(30)] = option(1000, "test images on which robustness and gap are measured")
    others: tuple[str, ...] = option((), "data sets whose images the runs should refuse, for uncertainty")
    figures: tuple[str, ...] = option((), "dotted names of figures; else those of the page of `compare`")
    goals: dict[str, dict[str, Any]] = option({}, "least mean of a figure of a recipe, or of RECIPE-kmex")


@dataclass(frozen=True)
class Measures:
    """What is measured of a run beside its evaluation.

    images: of the test split, for robustness and gap; others: data sets that are none of its own, for uncertainty;
    black_box: the run that its explanations are held against, None where there is none.
    """

    kinds: tuple[Kind, ...] = ()
    images: int = 0
    others: tuple[str, ...] = ()
    black_box: Path | None = None


@dataclass(frozen=True)
class Cell:
    """A run of a table: a recipe on its data with a seed, or what such a run is converted to.

    changes: to the recipe, or to the conversion; source: the run that is converted, None for one that is trained.
    """

    recipe: str
    data: str
    seed: int
    folder: Path
    changes: Mapping[str, Any]
    measures: Measures
    to: str | None = None
    source: Path | None = None

    @property
    def label(self) -> str:
        """What its row is called: the recipe, and what it is converted to."""
        name = name_of_recipe(self.recipe)
        return f"{name}-{self.to}" if self.to else name

    def config(self) -> tuple[RunConfig, str]:
        """The run that is trained, and the place to name in errors about it."""
        return read_run(self.recipe, merge(self.changes, {"seed": self.seed}))


def read_table(path: Path) -> Table:
    """The table of a TOML file.

    Raises ProtolensError where it is missing, no TOML, or has an unknown key, recipe or setting, or a bad value.
    """
    try:
        tables = read_recipe(path)
    except ProtolensError as error:
        raise ProtolensError(str(error).replace("; `protolens list recipes` names recipes", "")) from None
    if "models" not in tables:
        raise ProtolensError(f"{path.name}: models is missing; write models = [...] with names of recipes")
    table = build(Table, {"title": path.stem, **tables}, path.name)
    names = [name_of_recipe(model) for model in table.models]
    lists: dict[str, Sequence[object]] = {"models": names, "seeds": table.seeds}
    lists |= {"data": table.data, "convert": table.convert, "measure": table.measure, "others": table.others}
    for kind, own in lists.items():
        twice = [entry for entry in own if own.count(entry) > 1]
        if twice:
            raise ProtolensError(f"{path.name}: {kind} has {twice[0]} twice; write it once")
    if table.others and "uncertainty" not in table.measure:
        raise ProtolensError(f'{path.name}: others is asked for by uncertainty alone; write measure = ["uncertainty"]')
    for name in table.settings:
        known = [*names, *table.convert]
        if name not in known:
            raise ProtolensError(f"{path.name}: settings.{name} is of no model here{did_you_mean(name, known)}")
    labels = [*names, *(f"{name}-{to}" for name in names for to in table.convert)]
    for name in table.goals:
        if name not in labels:
            raise ProtolensError(f"{path.name}: goals.{name} is of no model here{did_you_mean(name, labels)}")
    try:
        flat_goals(table.goals, "goals")
    except ProtolensError as error:
        raise ProtolensError(f"{path.name}: {error}") from None
    for cell in cells_of(table):
        if cell.source is None:
            cell.config()  # says what is wrong before hours go by
    return table


def cells_of(table: Table) -> list[Cell]:
    """The runs of a table in the order in which they are made: all seeds of a model, each with what it becomes."""
    cells: list[Cell] = []
    boxes: dict[tuple[str, int], Path] = {}
    for recipe, data in product(table.models, table.data or ("",)):
        name = name_of_recipe(recipe)
        changes = merge(table.settings.get(name, {}), {"data": {"name": data}} if data else {})
        config, _ = read_run(recipe, changes)
        told = config.data.name
        stem = f"{name}-{as_part_of_a_name(data)}" if data else name
        measures = Measures(table.measure, table.images, tuple(other for other in table.others if other != told))
        for seed in table.seeds:
            folder = Path(table.runs) / f"{stem}-{seed}"
            if config.model["name"] in BLACK_BOXES:
                boxes.setdefault((told, seed), folder)
            cells.append(Cell(recipe, told, seed, folder, changes, measures))
            for to in table.convert:
                place, own = folder.with_name(f"{folder.name}-{to}"), table.settings.get(to, {})
                cells.append(Cell(recipe, told, seed, place, own, measures, to, folder))
    if "gap" not in table.measure:
        return cells
    return [replace(cell, measures=replace(cell.measures, black_box=black_box_of(cell, boxes))) for cell in cells]


def black_box_of(cell: Cell, boxes: Mapping[tuple[str, int], Path]) -> Path | None:
    """The run that a cell is held against: what it was converted from, else the black box of its data and seed."""
    if cell.source is not None:
        return cell.source
    box = boxes.get((cell.data, cell.seed))
    return None if box == cell.folder else box


def name_of_recipe(recipe: str) -> str:
    """A recipe's name: that of its file without the ending."""
    return Path(recipe).stem if recipe.endswith(".toml") else recipe


def flat_goals(goals: Mapping[str, Any], path: str = "") -> dict[str, float]:
    """Goals by the dotted names of their figures, however the dots were written. Raises ProtolensError for a word."""
    found: dict[str, float] = {}
    for key, value in goals.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            found |= flat_goals(value, name)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ProtolensError(f"{name} cannot be {value!r}: it should be a number")
        else:
            found[name] = float(value)
    return found
