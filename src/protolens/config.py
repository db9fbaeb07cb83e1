"""What a run is: plain frozen dataclasses, read from TOML, without torch.

A run is named by four tables: [data], [model], [stages.NAME], [train], and a seed. An unknown key or a bad value is an
error that names the place and the nearest known word.
"""

import dataclasses
import hashlib
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Lt

from protolens.errors import ProtolensError, did_you_mean

T = TypeVar("T")
DEFAULT_MODEL = {"name": "prototypedl"}
RECIPES = Path(__file__).parent / "recipes"
Count = Annotated[int, Gt(0)]
Share = Annotated[float, Ge(0), Lt(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are outside."""
Selecting = Literal["auto", "accuracy", "balanced_accuracy", "mean_average_precision", "micro_f1", "loss"]


def option(default: Any, help: str) -> Any:
    """A setting with its default and the line that `protolens list settings` says about it."""
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Task:
    """What a model is asked: which classes, on images of which shape. Travels inside the saved model."""

    classes: tuple[str, ...]
    bands: int
    height: int
    width: int
    several: bool = False  # whether an image can show several classes: then labels are [N, K] zeros and ones

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width


@dataclass(frozen=True)
class ModelSettings:
    """What any model can be told; the settings of each are a child of this."""

    hide: tuple[Box, ...] | None = option(
        None, "regions that it is never shown: [[left, top, right, bottom], ...] in pixels, right and bottom outside"
    )


@dataclass(frozen=True)
class Augmentation:
    """How training images are deformed, anew each time they are shown. All off by default."""

    elastic_sigma: Positive = option(4.0, "elastic deformation: width of the Gaussian in pixels (Simard 2003)")
    elastic_alpha: NotNegative = option(0.0, "elastic deformation: strength in pixels, 20 in the paper; 0 = off")
    rotate: NotNegative = option(0.0, "largest rotation in degrees")
    shift: NotNegative = option(0.0, "largest shift as a share of the side")
    scale: Share = option(0.0, "largest change of size as a share: 0.1 gives 0.9 to 1.1")
    shear: Annotated[float, Ge(0), Lt(90)] = option(0.0, "largest shear in degrees")
    crop: Annotated[int, Ge(0)] = option(0, "pad by so many pixels and cut a window of the old size at random")
    flip: bool = option(False, "mirror half of the images; refused where that is another class")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split."""

    name: str = option("digits", "a name from `protolens list data`, such as mnist or folder:PATH")
    root: str | None = option(None, "folder of the data files; else $PROTOLENS_DATA, else ~/.cache/protolens")
    size: Count | None = option(None, "height and width in pixels to which images are resized; for folders 64")
    bands: Count | None = option(None, "1 grey, 3 colour; else as the set has, for a folder the most common")
    validation: Annotated[float, Gt(0), Lt(1)] = option(
        0.1, "share of training kept for validation, if the set brings none"
    )
    test: Annotated[float, Gt(0), Lt(1)] = option(0.2, "share of all images kept for the test, if the set brings none")
    split_seed: int = option(0, "draws the splits; a run's own seed does not change them")
    group: str | None = option(None, "regular expression on file paths; images with equal matches share a split")
    leakage: Literal["stop", "drop", "allow"] = option("stop", "what to do with an image, or a group, in two splits")
    skip_unreadable: bool = option(False, "leave files out that cannot be read, and list them")
    memory: NotNegative = option(2.0, "GiB of pixels up to which a folder is held in memory, else streamed")
    window: Count | None = option(None, "land cover: pixels a side of a window; else 224 for DeepGlobe, 64 for Dubai")
    label_share: Annotated[float, Gt(0), Lt(1)] = option(
        0.05, "land cover: least share of a window that makes a class one of its labels"
    )
    workers: Annotated[int, Ge(0)] = option(2, "processes that read images while a streamed set is trained on")
    augment: Augmentation = option(Augmentation(), "how training images are deformed")


@dataclass(frozen=True)
class Stage:
    """A part of training: what learns, how fast, and on which weighted terms.

    `rates` maps parts of the model (dotted names of its modules, the more exact one counts) to learning rates, "all" to
    every part not named; what has no rate is frozen. `weights` maps loss terms to their weights; `then` names what
    follows the last epoch, in order, each with its options: scatter, project, prune, eliminate or cluster prototypes.
    """

    name: str = option("train", "its name")
    epochs: Annotated[int, Ge(0)] = option(60, "passes over the training images")
    rates: dict[str, NotNegative] = option({"all": 1e-3}, "learning rate of each part; all = the parts not named")
    weights: dict[str, float] = option({"classification": 1.0}, "weight of each loss term")
    optimiser: Literal["adam", "adamw", "sgd"] = option("adam", "adam, adamw or sgd (Nesterov momentum 0.9)")
    weight_decay: NotNegative = option(0.0, "weight decay")
    undecayed: tuple[str, ...] = option((), "parts without weight decay")
    fixed_statistics: tuple[str, ...] = option((), "parts that learn, but keep the statistics of batch normalisation")
    schedule: Literal["constant", "cosine", "one-cycle"] = option("constant", "learning rate over the stage's steps")
    clip: NotNegative = option(0.0, "largest norm of the gradient; 0 = not clipped")
    keep: Literal["best", "last"] = option("best", "epoch whose weights go on: best by validation, or the last")
    then: dict[str, dict[str, float]] = option(
        {}, "what follows, with options: scatter, project, prune, eliminate, cluster"
    )


@dataclass(frozen=True)
class TrainConfig:
    """How training runs, whatever the model."""

    batch: Count = option(250, "images a step, over all processes together")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: Literal["float32", "bfloat16", "float16"] = option("float32", "mixed precision of the forward pass")
    compile: bool = option(False, "torch.compile the training step")
    class_weights: Literal["none", "balanced"] = option("none", "balanced: a class counts as much as any other")
    select: Selecting = option(
        "auto", "picks the epoch: accuracy, or mean_average_precision where an image can show several classes"
    )
    follow: bool = option(False, "after each epoch, note the use, norm and nearest code of every prototype")
    tensorboard: bool = option(False, "also write TensorBoard files (extra: tensorboard)")
    keep_memory: bool = option(True, "keep freed memory in the process: up to 1.8x faster on Linux CPUs")
    map_of_codes: Literal["pca", "umap"] = option(
        "pca", "how a network's own prototypes are drawn beside those found for it; umap needs the extra umap"
    )
    keep_codes: bool = option(False, "leave the codes that clustering wrote to files in RUN/codes")
    checkpoint_seconds: NotNegative = option(60.0, "seconds between checkpoints; one more at each epoch's end")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run: `model` holds a name and its settings, `stages` what differs from its own."""

    data: DataConfig = option(DataConfig(), "which images")
    model: dict[str, Any] = option(DEFAULT_MODEL, "which method, and its settings")
    stages: dict[str, dict[str, Any]] = option({}, "changes to the model's stages, by name")
    train: TrainConfig = option(TrainConfig(), "how training runs")
    seed: int = option(0, "draws initial weights, data order, augmentation and sampling")


def build(cls: type[T], values: Mapping[str, Any], where: str, path: str = "", subject: str = "") -> T:
    """A dataclass from a mapping of settings, such as a TOML table or words from the command line.

    where: file or command the values come from, path: the table's dotted name, both for the message; subject: whose
    settings they are, if it has a name. Raises ProtolensError for an unknown key, a missing or a bad value.
    """
    from pydantic import TypeAdapter, ValidationError

    refuse_unknown(cls, values, where, path, subject)
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join([path, *map(str, first["loc"])] if path else map(str, first["loc"]))
        given = "is missing" if first["type"] == "missing" else f"cannot be {first['input']!r}"
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ProtolensError(f"{where}: {key} {given}: {message}") from None


def refuse_unknown(cls: type, values: Mapping[str, Any], where: str, path: str, subject: str = "") -> None:
    """Raise ProtolensError at the first key that `cls`, or a dataclass inside it, does not have."""
    kinds = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    for key, value in values.items():
        if key not in names:
            dotted = f"{path}." if path else ""
            owner = f"a setting of {subject}" if subject else "a setting"
            raise ProtolensError(f"{where}: {dotted}{key} is not {owner}{did_you_mean(key, names, dotted)}")
        if dataclasses.is_dataclass(kinds[key]) and isinstance(value, Mapping):
            refuse_unknown(typing.cast(type, kinds[key]), value, where, f"{path}.{key}" if path else key)


def read_recipe(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ProtolensError when it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProtolensError(f"{path} does not exist; `protolens list recipes` names recipes") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ProtolensError(f"{path} is not a readable TOML file ({error})") from error


def recipe_names() -> list[str]:
    """The recipes that come along with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_run(recipe: str | Path | None = None, changes: Mapping[str, Any] | None = None) -> tuple[RunConfig, str]:
    """A run from a recipe's name or TOML file, with changes to it, and the place to name in errors about it.

    Raises ProtolensError for an unknown recipe, key or value.
    """
    tables: dict[str, Any] = {}
    where = "protolens fit"
    if recipe is not None:
        path = Path(recipe)
        if path.suffix != ".toml":
            path = RECIPES / f"{recipe}.toml"
            if not path.exists():
                raise ProtolensError(f"{recipe} is not a recipe{did_you_mean(str(recipe), recipe_names())}")
        tables, where = read_recipe(path), path.name
    named = merge({"model": dict(DEFAULT_MODEL)}, tables)
    return build(RunConfig, merge(named, changes or {}), where), where


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings in one; where both have a value, `above` wins."""
    both = dict(below)
    for key, value in above.items():
        inner = both.get(key)
        both[key] = merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return both


def to_mapping(settings: Any) -> dict[str, Any]:
    """A dataclass as nested tables, without what is None: TOML has no word for it."""
    return {key: _plain(value) for key, value in dataclasses.asdict(settings).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if inner is not None}
    return [_plain(part) for part in value] if isinstance(value, tuple | list) else value


def to_toml(tables: Mapping[str, Any]) -> str:
    """Nested mappings as the text of a TOML file."""
    import tomli_w

    return tomli_w.dumps(tables)


def seed_of(seed: int, *name: object) -> int:
    """The seed of a named generator: the same for the same run seed and name, unrelated for others."""
    digest = hashlib.sha256("/".join(map(str, (seed, *name))).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def settings_of(cls: type, path: str) -> Iterator[tuple[str, str, Any, str]]:
    """Dotted name, type, default and help of each setting of a dataclass, for lists and help texts."""
    kinds = typing.get_type_hints(cls)
    default = cls()
    for entry in dataclasses.fields(cls):
        name, value = f"{path}.{entry.name}".lstrip("."), getattr(default, entry.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(type(value), name)
        else:
            yield name, _words(kinds[entry.name]), value, entry.metadata.get("help", "")


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is Annotated:
        return _words(typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        return " | ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return " | ".join("none" if arm is type(None) else _words(arm) for arm in typing.get_args(kind))
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)
