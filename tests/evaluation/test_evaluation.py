"""The verb `evaluate` reads the test split once and changes nothing."""

import json
import re
from collections import defaultdict
from math import ceil, log
from pathlib import Path

import pytest
import torch

import protolens
from protolens.data import open_data
from protolens.data.images import MemoryImages
from protolens.errors import ProtolensError
from protolens.evaluation import evaluate
from protolens.train import Run, fit
from tests.conftest import digits_run

SOURCE = Path(protolens.__file__).parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    return fit(
        digits_run(stages={"train": {"epochs": 10}}, train={"batch": 64}), tmp_path_factory.mktemp("runs") / "run"
    )


def test_the_figures_are_those_of_the_test_split_computed_slowly(trained):
    found = evaluate(trained).content
    data, model = open_data(trained.config.data), trained.model()
    everything = data.test.take(torch.arange(len(data.test)))
    predicted = [int(model(image[None] / 255).argmax()) for image in everything]
    right = sum(p == y for p, y in zip(predicted, data.test.labels.tolist(), strict=True))
    assert (found["right"], found["images"]) == (right, len(data.test))
    assert found["accuracy"] == right / len(data.test)
    assert found["model"] == trained.facts["model"]["digest"]
    assert found["data"] == data.test.digest


def test_probabilities_are_held_against_what_was_right(trained):
    found = evaluate(trained).content
    data, model = open_data(trained.config.data), trained.model()
    with torch.no_grad():
        logits = model(data.test.take(torch.arange(len(data.test))) / 255)
    shares, labels = logits.double().softmax(dim=1).tolist(), data.test.labels.tolist()
    groups = defaultdict(list)
    for row, label in zip(shares, labels, strict=True):
        sure = max(row)
        groups[ceil(sure * 15)].append((row.index(sure) == label) - sure)
    assert found["calibration_error"] == pytest.approx(
        sum(abs(sum(own)) for own in groups.values()) / len(labels), abs=1e-5
    )
    brier = [sum((p - (k == y)) ** 2 for k, p in enumerate(row)) for row, y in zip(shares, labels, strict=True)]
    assert found["brier_score"] == pytest.approx(sum(brier) / len(labels), abs=1e-5)
    surprise = [-log(row[y]) for row, y in zip(shares, labels, strict=True)]
    assert found["negative_log_likelihood"] == pytest.approx(sum(surprise) / len(labels), abs=1e-4)
    assert found["negative_log_likelihood"] == pytest.approx(found["loss"], abs=1e-4)


def test_evaluating_leaves_every_file_of_the_model_and_the_generators_as_they_were(trained):
    files = [trained.folder / name for name in ("model.safetensors", "prototypes.json", "run.json", "last.pt")]
    before = [path.read_bytes() for path in files]
    state = torch.get_rng_state()
    evaluate(trained, again=True)
    assert [path.read_bytes() for path in files] == before
    assert torch.equal(torch.get_rng_state(), state)


def test_a_second_evaluation_does_not_read_the_test_split_again(trained, monkeypatch):
    first = evaluate(trained)

    def refuse(*_):
        raise AssertionError("the images were read")

    monkeypatch.setattr(MemoryImages, "take", refuse)
    assert evaluate(trained).content == first.content


def test_other_images_than_those_of_the_run_are_refused(trained, tmp_path):
    config = (trained.folder / "config.toml").read_text()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("model.safetensors", "prototypes.json", "run.json"):
        (copy / name).write_bytes((trained.folder / name).read_bytes())
    (copy / "config.toml").write_text(config.replace("split_seed = 0", "split_seed = 1"))
    with pytest.raises(ProtolensError, match="images of digits are not those that the run was made with"):
        evaluate(copy)


def test_a_folder_without_a_run_and_one_that_is_not_finished_are_one_sentence_each(tmp_path):
    with pytest.raises(ProtolensError, match="is not a run folder: it has no config.toml"):
        evaluate(tmp_path)
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ProtolensError, match="is not finished; call the same `protolens fit` again with --resume"):
        evaluate(tmp_path)


def test_a_damaged_model_is_one_sentence(trained, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.toml", "prototypes.json", "run.json"):
        (copy / name).write_bytes((trained.folder / name).read_bytes())
    (copy / "model.safetensors").write_bytes((trained.folder / "model.safetensors").read_bytes()[:300])
    with pytest.raises(ProtolensError, match="model.safetensors is damaged or no safetensors file"):
        evaluate(copy)


def test_each_example_names_its_image_and_its_reasons_sum_to_the_logit(trained):
    evaluate(trained)
    examples = json.loads((trained.folder / "evaluation.json").read_text())["examples"]
    assert len(examples["sample"]) == 10
    for example in [*examples["right"], *examples["wrong"], *examples["sample"]]:
        assert (trained.folder / example["picture"]).exists()
        total = example["bias"] + sum(reason["contribution"] for reason in example["reasons"])
        assert total == pytest.approx(example["logit"], abs=1e-3)
        lifted = example["baseline"] + sum(reason["lift"] for reason in example["reasons"])
        assert lifted == pytest.approx(example["logit"], abs=1e-3)
    assert all(example["predicted"] == example["label"] for example in examples["right"])
    assert all(example["predicted"] != example["label"] for example in examples["wrong"])


def test_only_evaluation_and_descriptions_of_splits_speak_of_the_test_split():
    """Whoever selects, traces or explains must not even name it; the page shows it of runs that were evaluated."""
    allowed = {
        f"evaluation/{name}.py" for name in ("doubting", "ensemble", "evaluation", "gap", "methods", "steadiness")
    } | {"train/record.py", "serve/exhibit.py"}
    naming = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "data" and re.search(r"\.test\b", path.read_text())
    }
    assert naming == allowed
