"""MedMNIST v2 sets (Yang et al. 2023, Scientific Data 10:41): NAME.npz with its own three splits."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protolens.config import DataConfig
from protolens.data.images import Images
from protolens.data.reading import GIB
from protolens.data.source import Source, data_root, images_of_array, resized_note
from protolens.errors import ProtolensError, did_you_mean

ORGANS = (
    "bladder", "left femur", "right femur", "heart", "left kidney", "right kidney", "liver", "left lung", "right lung",
    "pancreas", "spleen",
)  # fmt: skip
CLASSES = {
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
        "consolidation", "edema", "emphysema", "fibrosis", "pleural thickening", "hernia",
    ),
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
        "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions",
    ),
    "octmnist": ("choroidal neovascularisation", "diabetic macular oedema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocyte", "lymphocyte", "monocyte", "neutrophil",
        "platelet",
    ),
    "tissuemnist": (
        "collecting duct, connecting tubule", "distal convoluted tubule", "glomerular endothelial cells",
        "interstitial endothelial cells", "leukocytes", "podocytes", "proximal tubule segments",
        "thick ascending limb",
    ),
    "organamnist": ORGANS,
    "organcmnist": ORGANS,
    "organsmnist": ORGANS,
}  # fmt: skip
WORDS = {"training": "train", "validation": "val", "test": "test"}


def open_medmnist(config: DataConfig, name: str) -> Source:
    """The set in NAME.npz under the root; NAME may end in a size, as in pathmnist_64.

    Raises ProtolensError when the file is missing, damaged, too large for config.memory or not of images.
    """
    path = data_root(config) / f"{name}.npz"
    arrays = _read(path, name, config)
    shape = arrays["train_images"].shape
    if arrays["train_images"].dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        raise ProtolensError(f"{path} does not hold grey or colour images but {' x '.join(map(str, shape))} values")
    count = arrays["train_labels"].shape[-1]
    several = arrays["train_labels"].ndim == 2 and count > 1  # zeros and ones; else [N, 1] class numbers
    parts: dict[str, Images] = {}
    for split, word in WORDS.items():
        pixels, labels = arrays[f"{word}_images"], arrays[f"{word}_labels"]
        labels = labels if several else labels.reshape(-1)
        pixels = pixels[:, None] if pixels.ndim == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        names = [f"{word}/{row}" for row in range(len(pixels))]
        parts[split] = images_of_array(split, pixels, labels, names, config)
    family = name.split("_")[0]
    if not several:
        count = 1 + max(int(images.labels.max()) for images in parts.values())
    classes = CLASSES.get(family, tuple(f"class {index}" for index in range(count)))
    mirror = "a mirrored left kidney is a right one" if CLASSES.get(family) is ORGANS else ""
    return Source(classes, parts, resized_note(config, (shape[1], shape[2])), mirror=mirror, several=several)


def _read(path: Path, name: str, config: DataConfig) -> dict[str, NDArray[Any]]:
    """The six arrays of the file."""
    if not path.is_file():
        here = [file.stem for file in path.parent.glob("*.npz")]
        hint = did_you_mean(name, here, "medmnist:") or "; get it from https://medmnist.com"
        raise ProtolensError(f"{path} does not exist (data.root or PROTOLENS_DATA name its folder){hint}")
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist()) / GIB
        if size > config.memory:
            raise ProtolensError(f"{path} holds {size:.1f} GiB of pixels; allow it by --data.memory {size + 0.1:.1f}")
        with np.load(path, allow_pickle=False) as file:
            return {
                f"{word}_{kind}": file[f"{word}_{kind}"] for word in WORDS.values() for kind in ("images", "labels")
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ProtolensError(f"{path} is not a readable MedMNIST file ({error})") from error
