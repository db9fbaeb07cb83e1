"""A run is a folder. Record writes one while a model learns; Run reads one that is finished."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from protolens.config import RunConfig, Stage, build, read_recipe, to_mapping, to_toml
from protolens.data import DataSet
from protolens.errors import ProtolensError
from protolens.files import cannot_write, read_json, write_text
from protolens.models import PrototypeModel, load_model, settings_class
from protolens.train.checkpoint import Checkpoint, Position, load_checkpoint, save_checkpoint
from protolens.train.classes import classes_shown

# may differ between the processes that work on one run: they decide where it runs, not what comes out
FREE = {f"data.{name}" for name in ("root", "workers", "memory")}
FREE |= {f"train.{name}" for name in ("device", "checkpoint_seconds", "keep_memory", "keep_codes")}


class Record:
    """The folder of a run that is being made. Only the leading process writes."""

    def __init__(self, folder: Path, run: RunConfig, data: DataSet, leads: bool):
        self.folder, self.data, self.leads = folder, data, leads
        self.digest = "/".join(f"{split}:{digest}" for split, digest in data.digests.items())
        self.config = to_toml(to_mapping(run))
        self.board = open_board(folder) if run.train.tensorboard and leads else None

    def begin(self) -> None:
        """Make the folder. Raises ProtolensError when it holds a run already."""
        refuse_run(self.folder)
        if self.leads:
            (self.folder / "history.jsonl").unlink(missing_ok=True)
            write_text(self.folder / "config.toml", self.config)

    def resume(self) -> Checkpoint | None:
        """The checkpoint to go on from, None where there is none; lines of history that came after it are cut off.

        Raises ProtolensError when the folder holds another run, or the data have changed since.
        """
        if not (self.folder / "last.pt").exists():
            return None
        refuse_other_run(self.folder, self.config)
        checkpoint = load_checkpoint(self.folder / "last.pt")
        if checkpoint.data != self.digest:
            raise ProtolensError(f"{self.folder} was trained on other images than these; choose another --out")
        if self.leads:
            lines = _lines(self.folder)[: checkpoint.position.lines]
            write_text(self.folder / "history.jsonl", "".join(line + "\n" for line in lines))
        return checkpoint

    def add_line(self, line: dict[str, Any]) -> None:
        """Append an epoch to history.jsonl."""
        if not self.leads:
            return
        path = self.folder / "history.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            raise cannot_write(path, error) from error
        if self.board:
            for kind in ("terms", "validation"):
                for name, value in line[kind].items():
                    if value is not None:
                        self.board.add_scalar(f"{kind}/{name}", value, line["epoch"])
            self.board.flush()

    def save(
        self, model: PrototypeModel, position: Position, optimiser: dict[str, Any], scaler: dict[str, Any]
    ) -> None:
        """Write last.pt."""
        if self.leads:
            checkpoint = Checkpoint(position, model.state_dict(), optimiser, scaler, self.digest)
            save_checkpoint(self.folder / "last.pt", checkpoint)


def refuse_run(folder: Path) -> None:
    """Raise ProtolensError when the folder holds a run already, finished or not."""
    if (folder / "last.pt").exists() or (folder / "model.safetensors").exists():
        raise ProtolensError(f"{folder} holds a run already; --resume goes on with it, --out names another folder")


def open_board(folder: Path) -> Any:
    """TensorBoard's writer for this run. Raises ProtolensError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ProtolensError("train.tensorboard needs the extra: pip install 'protolens[tensorboard]'") from None
    return SummaryWriter(folder / "tensorboard")


def _lines(folder: Path) -> list[str]:
    path = folder / "history.jsonl"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def refuse_other_run(folder: Path, config: str) -> None:
    """Raise ProtolensError at the first setting in which the folder's config.toml differs from this one."""
    import tomllib

    old, new = _flat(with_defaults(read_recipe(folder / "config.toml"))), _flat(tomllib.loads(config))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and key not in FREE:
            there, here = old.get(key, "not set"), new.get(key, "not set")
            raise ProtolensError(f"{folder} was begun with {key} = {there}, not {here}; choose another --out")


def refuse_other_settings(run: "Run", config: RunConfig, where: str) -> None:
    """Raise ProtolensError at the first setting that `config` names and the finished run was not made with.

    What is left to the model or to the task does not count: a run may be older than some of that. Nor does where files
    of weights lie. A run that was edited is another one, whatever its settings.
    """
    if run.edited:
        raise ProtolensError(f"{run.folder} was edited, so it is not what {where} makes; choose another folder")
    was = _flat(to_mapping(run.config))
    for key, value in sorted(_flat(named_settings(config, where)).items()):
        free = key in FREE or key.endswith(".weights") or value == "auto"
        if not free and was.get(key) != value:
            there = was.get(key, "not set")
            raise ProtolensError(f"{run.folder} was made with {key} = {there}, not {value}; choose another folder")


def named_settings(config: RunConfig, where: str) -> dict[str, Any]:
    """The settings of a run that is not complete, each of the type that it should have; words are text at first."""

    def typed(cls: type, named: dict[str, Any], path: str, subject: str = "") -> dict[str, Any]:
        values = to_mapping(build(cls, named, where, path, subject))
        return {key: value for key, value in values.items() if key in named}

    name = str(config.model["name"])
    model = {key: value for key, value in config.model.items() if key != "name"}
    stages = {stage: typed(Stage, named, f"stages.{stage}") for stage, named in config.stages.items()}
    settings = typed(settings_class(name), model, "model", name)
    return to_mapping(replace(config, model={"name": name, **settings}, stages=stages))


def with_defaults(tables: dict[str, Any]) -> dict[str, Any]:
    """A config.toml that an older version wrote, and the settings that have come since, as they are by default.

    It comes back as it is where it holds a setting that has gone since.
    """
    try:
        run = build(RunConfig, tables, "config.toml")
        name = str(run.model["name"])
        settings: Any = build(settings_class(name), {k: v for k, v in run.model.items() if k != "name"}, "config.toml")
        stages = {stage: to_mapping(build(Stage, values, "config.toml")) for stage, values in run.stages.items()}
    except ProtolensError:
        return tables
    for values in stages.values():
        del values["name"]
    return to_mapping(replace(run, model={"name": name, **to_mapping(settings)}, stages=stages))


def _flat(tables: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{path}.{key}" if path else key
        flat |= _flat(value, name) if isinstance(value, dict) else {name: value}
    return flat


def describe_data(data: DataSet) -> dict[str, Any]:
    """What run.json says of the images: shape, classes, size, digest and class counts of each split, leaks, notes."""
    classes = len(data.task.classes)
    splits = {
        images.name: {
            "images": len(images),
            "digest": images.digest,
            "per_class": classes_shown(images.labels, classes).sum(dim=0).tolist(),
        }
        for images in (data.training, data.validation, data.test)
    }
    leaks = [asdict(leak) for leak in data.leaks]
    return {"name": data.name, **asdict(data.task), "splits": splits, "leaks": leaks, "notes": list(data.notes)}


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder. Raises ProtolensError where a file is missing or damaged."""

    folder: Path

    @classmethod
    def open(cls, folder: "Run | Path | str") -> "Run":
        """The run in that folder, or the one given."""
        if isinstance(folder, Run):
            return folder
        path = Path(folder)
        if not (path / "config.toml").exists():
            raise ProtolensError(f"{path} is not a run folder: it has no config.toml; `protolens fit` makes one")
        if not (path / "run.json").exists():
            raise ProtolensError(f"{path} is not finished; call the same `protolens fit` again with --resume")
        return cls(path)

    @cached_property
    def config(self) -> RunConfig:
        """All settings of the run."""
        path = self.folder / "config.toml"
        return build(RunConfig, read_recipe(path), str(path))

    @cached_property
    def facts(self) -> dict[str, Any]:
        """run.json: the data, the model, the epochs that were taken, versions and time."""
        return dict(read_json(self.folder / "run.json"))

    @property
    def digest(self) -> str:
        """Of the trained model: what `state_digest` says of it."""
        return str(self.facts["model"]["digest"])

    def told(self, name: str) -> dict[str, Any] | None:
        """What a JSON file of the folder tells of this model; None where it is missing or tells of an earlier one."""
        path = self.folder / name
        content = dict(read_json(path)) if path.exists() else {}
        return content if content.get("model") == self.digest else None

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """evaluation.json: what `protolens evaluate` found; None where it was not called yet."""
        return self.told("evaluation.json")

    @property
    def edited(self) -> dict[str, Any] | None:
        """What was edited, of a run that `protolens edit` left: the run it was, and the edits; None for others."""
        found: dict[str, Any] | None = self.facts.get("edited")
        return found

    @cached_property
    def prototypes(self) -> list[dict[str, Any]]:
        """prototypes.json: class, weights, use and pictures of each prototype."""
        return list(read_json(self.folder / "prototypes.json")["prototypes"])

    @cached_property
    def built_in(self) -> dict[str, Any] | None:
        """built_in.json: what a network's own prototypes are like beside this run's; None where there are none."""
        return self.told("built_in.json")

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """history.jsonl: one entry an epoch."""
        return [json.loads(line) for line in _lines(self.folder)]

    def model(self) -> PrototypeModel:
        """The trained model, in evaluation mode, on the CPU."""
        return load_model(self.folder / "model.safetensors")


def refuse_other_images(run: Run, data: DataSet) -> None:
    """Raise ProtolensError at the first split whose images are not those of the run."""
    for split, facts in run.facts["data"]["splits"].items():
        if data.digests[split] != facts["digest"]:
            raise ProtolensError(
                f"{run.folder}: the {split} images of {data.name} are not those that the run was made with; "
                "bring the old ones back, or train again"
            )
