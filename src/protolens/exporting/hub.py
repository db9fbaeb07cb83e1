"""A folder that can be uploaded to a hub: a run without what only its maker needs, and a model card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from protolens import __version__
from protolens.config import to_mapping, to_toml
from protolens.errors import ProtolensError
from protolens.exporting.card import Exhibit, card, exhibited
from protolens.exporting.front_matter import refuse_license
from protolens.exporting.publishing import own_code, public
from protolens.files import whole_folder, write_bytes, write_json, write_text
from protolens.models import PrototypeModel, state_digest
from protolens.models.weights import read_tensors
from protolens.report.about import name_of, path_of
from protolens.report.figures import SIDE, framed
from protolens.report.gallery import Prototype, read_prototypes
from protolens.report.pictures import Album, encoded
from protolens.train import Run

COPIED = ("prototypes.json", "history.jsonl")


def export_hub(run: Run, folder: Path, license: str | None) -> dict[str, Any]:
    """Write the folder; returns what it holds. `Run.open` opens it again, to the same bits.

    Raises ProtolensError where the run was not evaluated, holds a network of one's own code, or the folder is there.
    """
    refuse_license(license)
    evaluation = run.evaluation
    if evaluation is None:
        raise ProtolensError(
            f"{run.folder} has no evaluation, from which a model card is made; call "
            f"`protolens evaluate {path_of(run.folder)}` first"
        )
    code = own_code(to_mapping(run.config))
    if code:
        raise ProtolensError(
            f"{run.folder} holds a network of your own code ({code}), which nobody else could open; name it as "
            "package.module:FUNCTION of a package that others can install, or export with --format onnx"
        )
    model = run.model()
    before = state_digest(model)
    with whole_folder(folder) as place:
        write_run(run, place)
        published = Run.open(place)
        exhibits = write_pictures(run, place)
        text = card(run, published, name_of(run), folder.resolve().name, evaluation, exhibits, license)
        write_text(place / "README.md", text)
        write_json(place / "config.json", settings_for_hubs(published, model))
        refuse_other_model(model, published.model(), run)
        files = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert state_digest(model) == before, "exporting changed the model"
    return {
        "run": str(run.folder),
        "format": "hf",
        "folder": str(folder),
        "files": files,
        "model": before,
        "license": license,
    }


def write_run(run: Run, place: Path) -> None:
    """All that `Run.open` and `explain` read, without paths of this machine."""
    write_text(place / "config.toml", to_toml(public(to_mapping(run.config))))
    write_bytes(place / "model.safetensors", without_paths(run.folder / "model.safetensors"))
    write_json(place / "run.json", public(run.facts))
    for name in COPIED:
        if (run.folder / name).exists():
            write_bytes(place / name, (run.folder / name).read_bytes())


def without_paths(path: Path) -> bytes:
    """The file of a model with the same tensors; in its metadata, files of weights are named without their folders."""
    state, metadata = read_tensors(path)
    chosen = json.loads(metadata["model"])
    if public(chosen) == chosen:
        return path.read_bytes()
    return save(state, metadata | {"model": json.dumps(public(chosen))})


def write_pictures(run: Run, place: Path) -> list[Exhibit]:
    """The pictures of all prototypes, and those on the card, enlarged; none where the run has none."""
    if not (run.folder / "prototypes").is_dir():
        return []
    album = Album(run.folder)
    prototypes = read_prototypes(run, album)
    for name, picture in album.pictures.items():
        write_bytes(place / name, picture.content)
    found = []
    for number, prototype in enumerate(exhibited(prototypes)):
        name = f"pictures/prototype-{number}.png"
        write_bytes(place / name, enlarged(prototype))
        found.append(
            Exhibit(name, prototype.alt, f"prototype {prototype.number}: {prototype.class_name}; {prototype.use}")
        )
    return found


def enlarged(prototype: Prototype) -> bytes:
    """Its picture as large as the eye likes it, its patch framed."""
    if prototype.patch and not prototype.decoded:
        return encoded(framed(prototype.picture, prototype.patch.box))
    return encoded(prototype.picture.at(SIDE))


def settings_for_hubs(run: Run, model: PrototypeModel) -> dict[str, Any]:
    """config.json: what programs read that know nothing of run folders."""
    task, data = model.task, run.facts["data"]
    return {
        "library_name": "protolens",
        "protolens_version": __version__,
        "task": "image-classification",
        "several": task.several,
        "classes": list(task.classes),
        "id2label": {str(number): name for number, name in enumerate(task.classes)},
        "label2id": {name: number for number, name in enumerate(task.classes)},
        "height": task.height,
        "width": task.width,
        "bands": task.bands,
        "pixels": [0.0, 1.0],
        "model": {"name": model.name, **run.facts["settings"]},
        "model_digest": run.digest,
        "data": {"name": data["name"], "digests": digests(data)},
    }


def digests(data: Mapping[str, Any]) -> dict[str, str]:
    """The digest of each split. data: as in run.json."""
    return {split: str(facts["digest"]) for split, facts in data["splits"].items()}


@torch.no_grad()
def refuse_other_model(model: PrototypeModel, again: PrototypeModel, run: Run) -> None:
    """Raise ProtolensError where what was read back is not the same to the last bit."""
    task = model.task
    images = torch.rand(2, task.bands, *task.size, generator=torch.Generator().manual_seed(0))
    if state_digest(model) != state_digest(again) or not torch.equal(model(images), again(images)):
        raise ProtolensError(f"{run.folder}: what was written gives other logits than the model; nothing was left")
