"""An edited model is a run like any other: it opens, is evaluated, explained, compared, converted, edited again."""

import copy
from pathlib import Path

import pytest
import torch
from PIL import Image

from protolens.attribution import attribute
from protolens.data import open_data
from protolens.data.pictures import to_png
from protolens.editing import Forbid, Move, SwitchOff, Workbench, edit_to_dict, save_edited
from protolens.errors import ProtolensError
from protolens.evaluation import compare, doctor, evaluate
from protolens.explanation import explain
from protolens.files import read_json
from protolens.models import state_digest
from protolens.report import write_report
from protolens.train import Run, convert, fit, fit_or_keep, predict
from protolens.train.team import Team
from tests.conftest import digits_run

SHORT = {"epochs": 1}
PATCHES = {
    "model": {"name": "protopnet", "per_class": 2, "features": 16},
    "stages": dict.fromkeys(("joint-1", "joint-2", "head-1", "head-2"), SHORT),
}
REGION = Forbid((0, 0, 8, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saving")


@pytest.fixture(scope="module")
def network(folder) -> Run:
    return fit(digits_run(model={"name": "blackbox"}), folder / "network")


@pytest.fixture(scope="module")
def vectors(folder) -> Run:
    return fit(digits_run(stages={"train": {"epochs": 4}}, train={"batch": 64, "follow": True}), folder / "vectors")


@pytest.fixture(scope="module")
def centres(folder, network) -> Run:
    return convert(network, folder / "centres", {"model": {"per_class": 2}})


@pytest.fixture(scope="module")
def patches(folder) -> Run:
    return fit(digits_run(**PATCHES), folder / "patches")


@pytest.fixture(scope="module")
def concepts(folder, network) -> Run:
    return convert(network, folder / "concepts", {"model": {"layers": ["encoder.2"], "concepts": 6}}, to="concepts")


@pytest.fixture(scope="module", params=["vectors", "centres", "patches", "concepts"])
def pair(request) -> tuple[Run, Run, list]:
    """A run, the same with edits of all kinds, and these."""
    run = request.getfixturevalue(request.param)
    own = run.prototypes[2]["class"]
    edits = [SwitchOff(0), Move(2, "9" if own != "9" else "8"), REGION, SwitchOff(4)]
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    saved = save_edited(run, edits, run.folder.with_name(f"{run.folder.name}-edited"))
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before
    return run, saved, edits


def test_the_file_holds_the_model_that_the_bench_spoke_of(pair):
    run, saved, edits = pair
    opened = Workbench.open(run)
    model, expected = saved.model(), opened.edited(edits)
    assert state_digest(model) == state_digest(expected) == saved.facts["model"]["digest"]
    assert model.settings.hide == (REGION.box,)
    logits = predict(model, opened.images, Team(torch.device("cpu")))
    found = opened.consequences(edits)
    assert int((logits.argmax(dim=1) == opened.labels).sum()) == found.after.right
    changed = [flip.index for flip in found.flips]
    assert (logits.argmax(dim=1) != opened.base.argmax(dim=1)).nonzero().flatten().tolist() == changed


def test_the_run_says_what_was_edited_and_all_else_as_before(pair):
    run, saved, edits = pair
    edited, numbers = saved.edited, [entry["prototype"] for entry in run.prototypes]
    assert edited["of"] == run.folder.name
    assert edited["model"] == run.facts["model"]["digest"]
    assert edited["edits"] == [edit_to_dict(edit) for edit in edits]
    assert edited["kept"] == [number for number in numbers if number not in (0, 4)]
    assert edited["history"] == []
    assert edited["consequences"]["after"]["images"] == saved.facts["data"]["splits"]["validation"]["images"]
    for name in ("data", "stages", "chosen", "followed", "made_with"):
        assert saved.facts[name] == run.facts[name]
    assert saved.history == run.history
    assert saved.config.model == run.config.model | {"hide": [list(REGION.box)]}
    assert saved.config.data == run.config.data
    assert len(saved.prototypes) == len(run.prototypes) - 2
    assert all((saved.folder / entry["image"]).exists() for entry in saved.prototypes)
    moved = edited["kept"].index(2)
    assert saved.prototypes[moved]["class"] == edits[1].to
    assert (saved.built_in is None) == (run.built_in is None)
    assert not list(saved.folder.parent.glob(".*"))


def test_every_verb_works_on_it(pair, tmp_path):
    run, saved, _ = pair
    scores = evaluate(saved).content
    evaluate(run)
    found = compare([run, saved])
    assert [kind["name"] for kind in found["kinds"]] == [run.folder.name, saved.folder.name]
    assert doctor(saved)["prototypes"] == len(saved.prototypes)
    page = write_report(saved).read_text()
    assert f"This is {run.folder.name}, but prototypes 0 and 4 are switched off; prototype 2 speaks for" in page
    assert f"--off 0,4 --move 2:{saved.edited['edits'][1]['to']} --forbid 0,0,8,1 --out" in page
    data = open_data(run.config.data)
    picture = tmp_path / "image.png"
    picture.write_bytes(to_png(data.validation.take(torch.tensor([5]))[0]))
    (explained,) = explain(saved, [picture])
    assert len(explained.reasons) == len(saved.prototypes)
    images = data.validation.take(torch.arange(4)) / 255
    # the nearest of some centres has no slope
    for method in ("lrp", "prp", *(["gradient"] if saved.model().name != "concepts" else [])):
        maps = attribute(saved.model(), images, method=method)
        assert maps[:, 0].abs().max() == 0
        assert maps[:, 1:].abs().max() > 0
    assert scores["images"] == 359


def test_it_can_be_edited_again_and_tells_of_both(pair):
    run, saved, _ = pair
    again = save_edited(saved, [SwitchOff(0), Forbid((7, 7, 8, 8))], saved.folder.with_name(f"{run.folder.name}-twice"))
    assert again.edited["of"] == saved.folder.name
    assert again.edited["history"] == [{name: saved.edited[name] for name in ("of", "model", "edits", "kept")}]
    model = again.model()
    assert model.settings.hide == (REGION.box, (7, 7, 8, 8))
    assert torch.equal(model.hidden.fill, saved.model().hidden.fill)
    assert len(again.prototypes) == len(saved.prototypes) - 1
    assert (
        f"This is {saved.folder.name} (itself edited), but prototype 0 is switched off"
        in write_report(again).read_text()
    )


def test_what_takes_the_place_of_a_region_is_the_median_of_training_pixels(vectors):
    pixels = open_data(vectors.config.data).training.take(torch.arange(1295)).flatten().sort().values
    assert float(Workbench.open(vectors).fill()) == pytest.approx(int(pixels[(len(pixels) - 1) // 2]) / 255)


def test_a_model_without_forbidden_regions_stays_a_plain_one(vectors, folder):
    saved = save_edited(vectors, [SwitchOff(3)], folder / "plain")
    assert (saved.folder / "config.toml").read_bytes() == (vectors.folder / "config.toml").read_bytes()
    model = saved.model()
    assert model.hidden is None
    assert model.state_dict().keys() == vectors.model().state_dict().keys()
    assert len(model.prototypes) == 14
    assert len(model.provenance) == 14


def test_a_black_box_may_be_forbidden_a_region_and_then_be_converted(network, folder):
    saved = save_edited(network, [REGION], folder / "network-edited")
    found = convert(saved, folder / "network-edited-kmex", {"model": {"per_class": 1}})
    assert found.model().network.hidden.visible.sum() == 56
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = copy.deepcopy(images)
    other[:, :, 0] = 0.5
    assert torch.equal(found.model()(images), found.model()(other))


def test_an_edited_network_with_fewer_prototypes_can_be_converted(vectors, folder):
    saved = save_edited(vectors, [SwitchOff(3), SwitchOff(5)], folder / "fewer")
    found = convert(saved, folder / "fewer-kmex", {"model": {"per_class": 1}})
    assert len(found.model().network.prototypes) == 13


def test_an_edited_run_is_not_taken_for_one_that_was_trained(vectors, folder):
    saved = save_edited(vectors, [SwitchOff(1)], folder / "other")
    with pytest.raises(ProtolensError, match="other was edited, so it is not what a test makes; choose another folder"):
        fit_or_keep(vectors.config, saved.folder, where="a test")


def test_a_folder_that_is_there_and_edits_that_fail_leave_all_as_it_was(vectors, folder, monkeypatch):
    (folder / "there").mkdir()
    with pytest.raises(ProtolensError, match="there exists already; name another folder by --out"):
        save_edited(vectors, [SwitchOff(1)], folder / "there")
    with pytest.raises(ProtolensError, match="nothing is edited"):
        save_edited(vectors, [], folder / "nothing")
    with pytest.raises(ProtolensError, match="77 is not a prototype"):
        save_edited(vectors, [SwitchOff(77)], folder / "nothing")

    def fail(*_, **__):
        raise ProtolensError("the disk is full")

    monkeypatch.setattr("protolens.editing.saving.write_json", fail)
    with pytest.raises(ProtolensError, match="the disk is full"):
        save_edited(vectors, [SwitchOff(1)], folder / "nothing")
    assert not (folder / "nothing").exists()
    assert not list(folder.glob(".*"))
    assert read_json(vectors.folder / "run.json") == vectors.facts


def test_the_share_that_is_told_never_falls(vectors, folder):
    told: list[float] = []
    save_edited(vectors, [SwitchOff(1), REGION], folder / "told", step=told.append)
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_set_whose_images_show_several_classes_is_edited_alike(several, folder):
    config = digits_run(data={"name": "pairs"}, model={"name": "prototypedl", "prototypes": 12})
    run = fit(config, folder / "several")
    saved = save_edited(run, [SwitchOff(2), Forbid((0, 0, 16, 1))], folder / "several-edited")
    found = saved.edited["consequences"]
    assert found["balanced"] is None
    assert found["before"]["images"] == len(several.validation)
    said = predict(saved.model(), several.validation, Team(torch.device("cpu"))) > 0
    assert found["after"]["right"] == int((said == several.validation.labels.bool()).all(dim=1).sum())
    assert evaluate(saved).content["images"] == len(several.test)
    write_report(saved)


def test_pictures_are_those_of_the_prototypes_that_are_left(vectors, folder):
    saved = save_edited(vectors, [SwitchOff(0)], folder / "pictures")
    for number, entry in enumerate(saved.prototypes):
        with (
            Image.open(saved.folder / entry["decoded"]) as found,
            Image.open(vectors.folder / vectors.prototypes[number + 1]["decoded"]) as expected,
        ):
            assert found.tobytes() == expected.tobytes()
        assert entry["weights"] == pytest.approx(vectors.prototypes[number + 1]["weights"])
