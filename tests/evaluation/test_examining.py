"""The doctor finds what was planted, accuses nobody else of it, changes nothing, and its mends can be typed."""

import json
import re
import shlex
import shutil
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
import torch

from protolens.cli import main
from protolens.config import read_run
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import doctor
from protolens.evaluation.examining import patient_of, window
from protolens.evaluation.findings import KINDS, find, reasons_not_to_ask
from protolens.evaluation.mends import mends_of
from protolens.evaluation.seeing import Neighbours, see
from protolens.models import build_model, save_model, state_digest
from protolens.models.registry import calendar
from protolens.train import Run, convert, fit
from protolens.train.afterwards import check_afterwards
from protolens.words import dotted_settings, make_parser
from tests.conftest import digits_run, pairs_of_digits

SHORT = {
    "prototypedl": {"train": {"epochs": 4}},
    "protovae": {"train": {"epochs": 3}},
    "pantypes": {"train": {"epochs": 1}, "refine": {"epochs": 1}},
    "protopnet": {stage: {"epochs": 2} for stage in ("joint-1", "head-1")},
    "flint": {stage: {"epochs": 1} for stage in ("predict", "interpret", "concise")},
    "blackbox": {"train": {"epochs": 2}},
}
SETTINGS = {"protopnet": {"rounds": 1, "per_class": 2, "features": 16}, "protovae": {"features": 16, "per_class": 3}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run of a model, trained when first asked for."""
    made: dict[str, Run] = {}

    def run(name: str) -> Run:
        if name not in made:
            folder = tmp_path_factory.mktemp("runs") / name
            if name == "kmex":
                made[name] = convert(run("blackbox"), folder, {"model": {"per_class": 3}})
            else:
                model = {"name": name, **SETTINGS.get(name, {})}
                made[name] = fit(digits_run(model=model, stages=SHORT[name], train={"batch": 64}), folder)
        return made[name]

    return run


def planted(run: Run, folder, change) -> Run:
    """A copy of a run whose model was changed."""
    shutil.copytree(run.folder, folder)
    model = run.model()
    with torch.no_grad():
        change(model)
    save_model(model, folder / "model.safetensors", {})
    return Run.open(folder)


def by_kind(found) -> dict[str, set[int]]:
    kinds = defaultdict(set)
    for finding in found["findings"]:
        kinds[finding["kind"]].add(finding["prototype"])
    return kinds


def test_planted_illnesses_are_found_and_nobody_else_is_accused_of_them(runs, tmp_path):
    before = by_kind(doctor(runs("kmex")))

    def make_sick(model):  # three centres of each class
        vectors = model.prototypes.vectors
        vectors[3] = vectors[4]  # a copy
        vectors[9] *= 100  # has left the data

    found = doctor(planted(runs("kmex"), tmp_path / "sick", make_sick))
    kinds = by_kind(found)
    assert before["duplicate"] == before["never-used"] == before["out-of-distribution"] == set()
    assert kinds["duplicate"] == {3, 4}
    assert kinds["never-used"] == {9}
    assert kinds["out-of-distribution"] == {9}
    assert found["healthy"] == 30 - len(set().union(*kinds.values()))
    copy = next(f for f in found["findings"] if f["kind"] == "duplicate" and f["prototype"] == 3)
    assert copy["others"] == [4]
    assert copy["figure"] == 0
    assert copy["sentence"].startswith("It coincides with prototype 4: 0 % of")


def test_a_weight_for_another_class_and_one_against_its_own_are_found(runs, tmp_path):
    def make_sick(model):
        own = model.class_of()
        model.head.weight[own[4], 4] = -0.3
        model.head.weight[(own[7] + 1) % 10, 7] = 3.0

    found = doctor(planted(runs("protovae"), tmp_path / "sick", make_sick))
    said = {f["prototype"]: f["sentence"] for f in found["findings"] if f["kind"] == "wrong-signed"}
    assert "counts against 1" in said[4]
    assert said[7].startswith("Its weight to 3 is 3, to its own class 2 only")


def test_a_prototype_between_classes_is_mixed(runs, tmp_path):
    """A centre of a black box's codes moved to another class wins that class's images."""

    def move(model):
        model.prototypes.vectors[0] = model.prototypes.vectors[15]  # of class 0, to class 5

    run = planted(runs("kmex"), tmp_path / "sick", move)
    found = doctor(run)
    finding = next(f for f in found["findings"] if f["kind"] == "class-mixed" and f["prototype"] == 0)
    assert re.search(
        r"stands for 0, which .* of the .* images that it wins show, and .* of all; .* show 5\.", finding["sentence"]
    )
    assert [image["label"] for image in finding["images"]] == ["5"] * 4
    assert all((run.folder / image["picture"]).exists() for image in finding["images"])
    twin = next(f for f in found["findings"] if f["kind"] == "duplicate" and f["prototype"] == 15)
    assert ", of 0: 0 % of the usual distance" in twin["sentence"]


def test_looking_changes_neither_model_nor_generators_and_reads_no_test_image(runs, monkeypatch):
    run = runs("protovae")
    before, state = state_digest(run.model()), torch.get_rng_state()
    data = open_data(run.config.data)

    class Untouched:
        digest = data.test.digest

        def __getattr__(self, name):
            raise AssertionError(f"{name} of the test split was asked for")

    names = {"test": run.facts["data"]["splits"]["test"]["digest"]}
    sealed = replace(data, test=Untouched())
    monkeypatch.setattr(type(sealed), "digests", property(lambda _: {**names, **{
        s.name: s.digest for s in (data.training, data.validation)}}))  # fmt: skip
    monkeypatch.setattr("protolens.evaluation.examining.open_data", lambda _: sealed)
    found = doctor(run)
    assert found["model"] == before == state_digest(run.model())
    assert torch.equal(torch.get_rng_state(), state)
    assert found["images"] == {"training": len(data.training), "validation": len(data.validation)}
    kept = json.loads((run.folder / "doctor.json").read_text())
    assert kept == found


def test_distances_and_leads_are_those_computed_slowly(runs):
    run = runs("prototypedl")
    data, model = open_data(run.config.data), run.model()
    seen = see(model, (data.training, data.validation), 0)
    everything = torch.cat([s.take(torch.arange(len(s))) for s in (data.training, data.validation)])
    weights = model.prototype_weights().detach()
    with torch.no_grad():
        evidence = model.evidence(to_float(everything, "cpu"))
        codes = evidence.code
        apart = torch.cdist(model.prototypes.vectors, codes, compute_mode="donot_use_mm_for_euclid_dist")
        between = torch.cdist(codes, codes, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    assert seen.nearest.tolist() == pytest.approx(apart.amin(dim=1).tolist(), abs=1e-2)
    # every image is a probe where they are so few
    assert torch.allclose(seen.usual_nearest, between.amin(dim=1), atol=1e-2)
    usual = seen.similarity.mean(dim=0)
    for row in range(0, len(everything), 97):
        k = int(evidence.logits[row].argmax())
        lifts = [float((evidence.similarity[row, j] - usual[j]) * weights[j, k]) for j in range(15)]
        assert int(seen.leads[row].argmax()) == max(range(15), key=lambda j: lifts[j])
    assert torch.equal(seen.wins.argmax(dim=1), evidence.similarity.argmax(dim=1))


def test_codes_far_from_zero_are_met_as_near_as_they_are(runs, monkeypatch):
    """Distances of 1e-3 between codes of length 300 are less than rounding leaves of squared lengths."""
    training, model = open_data(runs("prototypedl").config.data).training, runs("prototypedl").model().eval()
    plain, depth = model.code, model.prototypes.vectors.shape[1]
    monkeypatch.setattr(model, "code", lambda images: plain(images) + 300 / depth**0.5)
    images = to_float(training.take(torch.arange(len(training))), "cpu")
    with torch.no_grad():
        codes = model.code(images)
        model.prototypes.vectors.copy_(codes[: len(model.prototypes)] + 1e-3 / depth**0.5)
        neighbours = Neighbours.begin(model, [training], model.evidence(images[:1]), 0)
        for part in codes.split(200):
            neighbours.meet(part)
        apart = torch.cdist(model.prototypes.vectors, codes, compute_mode="donot_use_mm_for_euclid_dist")
        between = torch.cdist(codes, codes, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
    assert neighbours.of_prototypes().tolist() == pytest.approx(apart.amin(dim=1).tolist(), abs=1e-2)
    # every image is a probe where they are so few
    assert torch.allclose(neighbours.of_probes(), between.amin(dim=1), atol=1e-2)


def test_the_image_that_a_prototype_was_taken_from_does_not_count_as_its_use(runs, tmp_path):
    """A centre moved onto the code of one image of its class wins that image, and the doctor leaves it out."""
    run, data = runs("kmex"), open_data(runs("kmex").config.data)
    model = run.model()
    number = next(i for i, k in enumerate(data.training.labels.tolist()) if k == 2)

    def project(model):
        model.prototypes.vectors[6] = model.code(to_float(data.training.take(torch.tensor([number])), "cpu"))[0]
        model.provenance[6] = replace(model.provenance[6], index=number)

    run = planted(run, tmp_path / "projected", project)
    model = run.model()
    patient = patient_of(model, see(model, (data.training, data.validation), 0), data)
    assert patient.seen.wins[number, 6] == 1
    assert patient.source.tolist() == [number if j == 6 else -1 for j in range(30)]
    assert patient.wins[number, 6] == 0
    assert patient.wins.sum() == patient.seen.wins.sum() - 1


def test_what_makes_no_sense_is_not_asked(runs):
    asked = {name: doctor(runs(name))["kinds"] for name in ("flint", "prototypedl", "protopnet")}
    assert "rows of a linear layer" in asked["flint"]["out-of-distribution"]["not_asked"]
    assert "whole images" in asked["prototypedl"]["background"]["not_asked"]
    assert asked["prototypedl"]["out-of-distribution"]["not_asked"] is None
    assert {kind for kind, counts in asked["protopnet"].items() if counts["not_asked"]} <= {"background"}


def test_a_single_prototype_and_all_equal_ones_have_a_defined_answer(tmp_path, runs):
    one = fit(digits_run(model={"name": "prototypedl", "prototypes": 1}), tmp_path / "one")
    assert by_kind(doctor(one))["duplicate"] == set()

    def level(model):
        model.prototypes.vectors[:] = model.prototypes.vectors[0]

    equal = doctor(planted(runs("prototypedl"), tmp_path / "equal", level))
    assert by_kind(equal)["duplicate"] == set(range(15))
    assert by_kind(equal)["never-used"] == set()  # equal ones share every image
    json.dumps(equal, allow_nan=False)


def test_images_that_show_several_classes_are_held_against_chance(several, tmp_path, monkeypatch):
    data = pairs_of_digits((200, 60, 60))
    for reader in ("train.fitting", "evaluation.examining"):
        monkeypatch.setattr(f"protolens.{reader}.open_data", lambda _: data)
    run = fit(digits_run(data={"name": "pairs"}, stages={"train": {"epochs": 3}}), tmp_path / "run")
    found = doctor(run)
    for finding in found["findings"]:
        if finding["kind"] == "class-mixed":
            k = data.task.classes.index(finding["class"])
            labels = torch.cat([data.training.labels, data.validation.labels])
            assert finding["threshold"] == pytest.approx(float(labels[:, k].double().mean()))
            assert finding["figure"] < finding["threshold"]


def test_the_order_of_prototypes_changes_numbers_alone(runs):
    run = runs("protovae")
    data, model = open_data(run.config.data), run.model()
    patients = []
    order = torch.randperm(len(model.prototypes), generator=torch.Generator().manual_seed(0))
    for some in (torch.arange(len(order)), order):
        model = run.model()
        model.keep(some)
        patients.append(patient_of(model, see(model, (data.training, data.validation), 0), data))
    plain, turned = ([(f.kind, f.prototype) for f in find(p, reasons_not_to_ask(p))] for p in patients)
    assert plain
    assert sorted(plain) == sorted((kind, int(order[number])) for kind, number in turned)


@pytest.mark.parametrize("name", [*SHORT, "kmex"])
def test_each_mend_can_be_typed_and_changes_the_run(runs, name):
    run = runs(name)
    task = run.model().task
    for kind, mend in mends_of(run, dict.fromkeys(KINDS, 2)).items():
        words = shlex.split(re.search("`protolens (.+)`", mend)[1])
        plain, settings = dotted_settings(words)
        given = make_parser().parse_args(plain)
        if given.verb == "convert":
            assert given.network == str(run.folder)
            continue
        config, where = read_run(given.recipe, settings)
        model = build_model(config.model, task, 0, where)
        stages = calendar(model, config.stages, where)
        check_afterwards(stages, where)
        old = calendar(build_model(run.config.model, task, 0), run.config.stages)
        changed = (model.settings, config.data, config.train, stages)
        assert changed != (run.model().settings, run.config.data, run.config.train, old), kind


@pytest.mark.parametrize(("then", "mend"), [
    ({}, "fewer"), ({"project": {}}, "onto one patch"), ({"project": {"distinct": 0.0}}, "onto one patch"),
    ({"project": {"distinct": 1.0}}, "fewer"),
])  # fmt: skip
def test_duplicates_are_kept_apart_where_projection_lets_them_meet(runs, monkeypatch, then, mend):
    run = runs("protopnet")
    stages = [stage | {"then": then if number == 0 else {}} for number, stage in enumerate(run.facts["stages"])]
    facts = run.facts | {"stages": stages}
    monkeypatch.setattr(Run, "facts", property(lambda _: facts))
    assert mend in mends_of(run, {"duplicate": 2})["duplicate"]


def test_mends_do_what_they_say(runs, tmp_path):
    """Elimination drops a prototype that no image is nearest to, and a conversion has none that counts against."""
    run = runs("protovae")
    mends = mends_of(run, {"never-used": 1, "wrong-signed": 1})
    words = shlex.split(re.search("`protolens (.+)`", mends["never-used"])[1])
    words[words.index("--out") + 1] = str(tmp_path / "fitted")
    assert main(words) == 0
    fitted = Run.open(tmp_path / "fitted")
    assert fitted.facts["followed"][-1]["step"] == "eliminate"
    of_class = Counter(entry["class"] for entry in fitted.prototypes)
    # a class keeps its last one
    assert all(entry["images"] or of_class[entry["class"]] == 1 for entry in fitted.prototypes)
    words = shlex.split(re.search("`protolens (.+)`", mends["wrong-signed"])[1])
    words[words.index("--out") + 1] = str(tmp_path / "converted")
    assert main(words) == 0
    assert "none has weights" in doctor(tmp_path / "converted")["kinds"]["wrong-signed"]["not_asked"]


def test_the_window_around_a_place_is_cut_at_the_edge_of_the_picture():
    assert window(0, (7, 7), (224, 224), 0.5) == [0, 0, 26, 26]
    assert window(24, (7, 7), (224, 224), 1.0) == [76, 76, 148, 148]
    assert window(6, (7, 7), (224, 112), 1.0) == [86, 0, 112, 52]


def test_the_command_says_who_is_sick_and_writes_a_page(runs, tmp_path, capsys):
    run = runs("prototypedl")
    assert main(["doctor", str(run.folder)]) == 0
    said = capsys.readouterr().out
    assert "Judged by 1,295 training images and 143 validation images" in said.replace("\N{NO-BREAK SPACE}", " ")
    assert (run.folder / "doctor.html").exists()
    assert main(["doctor", str(run.folder), "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["page"] == str(tmp_path / "doctor.html")
    assert (tmp_path / "doctor.html").exists()
    assert main(["doctor", str(tmp_path)]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_other_images_than_those_of_the_run_are_refused(runs, tmp_path):
    shutil.copytree(runs("blackbox").folder, tmp_path / "copy")
    config = tmp_path / "copy" / "config.toml"
    config.write_text(config.read_text().replace("split_seed = 0", "split_seed = 1"))
    with pytest.raises(ProtolensError, match="are not those that the run was made with"):
        doctor(tmp_path / "copy")
