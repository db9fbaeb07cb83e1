"""The map of codes: validation images and prototypes as points of the plane that keeps most of the distances."""

from typing import Any

import torch

from protolens.data import to_float
from protolens.errors import ProtolensError
from protolens.serve.exhibit import Exhibit
from protolens.serve.jobs import Job
from protolens.train import in_words
from protolens.train.classes import classes_shown
from protolens.train.planes import bent_plane, plane_of_distances

IMAGES, AT_ONCE = 1500, 100
KINDS = ("pca", "umap")


def plane(job: Job, exhibit: Exhibit, kind: str) -> dict[str, Any]:
    """Points of images and prototypes. Raises ProtolensError for another kind, and where codes stand at places."""
    if kind not in KINDS:
        raise ProtolensError(f"{kind} is no map of codes; choose {' or '.join(KINDS)}")
    images, parts = exhibit.images("validation"), []
    generator = torch.Generator().manual_seed(exhibit.run.config.seed)
    rows = torch.randperm(len(images), generator=generator)[:IMAGES].sort().values
    for some in rows.split(AT_ONCE):
        with exhibit.lock, torch.inference_mode():
            evidence = exhibit.model.evidence(to_float(images.take(some), "cpu"))
        code = evidence.code
        if code.ndim == 4:  # at places: the code that is most like any prototype
            assert evidence.maps is not None
            place = evidence.maps.amax(dim=1).flatten(1).argmax(dim=1)
            code = code.flatten(2)[torch.arange(len(place)), :, place]
        parts.append(code.clone())
        job.step(sum(map(len, parts)) / len(rows))
    codes, vectors = torch.cat(parts), exhibit.model.prototypes.vectors.detach()
    if vectors.shape[1] != codes.shape[1]:
        raise ProtolensError("the prototypes of this model are no codes, so that they cannot stand among them")
    if kind == "umap":
        points, stars = bent_plane(codes, vectors, "euclidean", exhibit.run.config.seed)
        kept = None
    else:
        found = plane_of_distances(codes)
        points, stars, kept = found.place(codes), found.place(vectors), found.kept(codes)
    classes = exhibit.task.classes
    shown = classes_shown(images.labels[rows], len(classes))
    return {
        "kind": kind,
        "kept": kept,
        "images": [
            {"index": row, "x": x, "y": y, "label": in_words(own, classes)}
            for row, (x, y), own in zip(rows.tolist(), points.tolist(), shown, strict=True)
        ],
        "prototypes": [
            {"prototype": number, "x": x, "y": y, "class": entry["class"]}
            for number, ((x, y), entry) in enumerate(zip(stars.tolist(), exhibit.run.prototypes, strict=True))
        ],
    }
