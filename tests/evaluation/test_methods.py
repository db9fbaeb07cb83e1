"""Which explanations can be believed, measured on real runs and computed slowly."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from protolens.attribution import attribute, methods_that_fail
from protolens.cli import main
from protolens.data import MemoryImages, open_data, to_float
from protolens.data.images import Annotations
from protolens.errors import ProtolensError
from protolens.evaluation import faithfulness, looking
from protolens.evaluation.keeping import Parts
from protolens.evaluation.looking import FILLINGS, SHARES
from protolens.evaluation.maps import complexity, overlap, randomised, spearman
from protolens.evaluation.sampling import drawn, mean_of
from protolens.models import build_model
from protolens.report import write_faithfulness
from protolens.train import Run, fit
from tests.conftest import digits_run, make_task, torchrun

ASKED = {"images": 60, "seed": 3, "options": {"lime": {"samples": 60}}}
METHODS = ["self", "lime", "gradient"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    config = digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 6}})
    return fit(config, tmp_path_factory.mktemp("faithfulness") / "run")


@pytest.fixture(scope="module")
def found(run):
    return faithfulness(run, METHODS, **ASKED)


@pytest.fixture(scope="module")
def seen(run):
    """The model, the images, their labels and what the model says of them."""
    test, model = open_data(run.config.data).test, run.model()
    rows = drawn(len(test), 60, 3)
    images = to_float(test.take(rows), "cpu")
    with torch.no_grad():
        return model, images, test.labels[rows], model(images).argmax(dim=1)


def test_accuracies_with_the_highest_pixels_are_those_counted_one_by_one(found, seen):
    model, images, labels, targets = seen
    maps = attribute(model, images, targets, "gradient", 3)
    for filling in ("black", "mean"):
        for share in (0.05, 0.2, 0.6):
            right = 0
            for image, label, own in zip(images, labels.tolist(), maps, strict=True):
                highest = own.flatten().argsort(descending=True)[: round(share * 64)]
                kept = torch.zeros(64, dtype=torch.bool).index_fill_(0, highest, True).view(8, 8)
                hidden = image.mean() if filling == "mean" else 0.0
                right += int(model(torch.where(kept, image, hidden)[None]).argmax()) == label
            curve = found["methods"]["gradient"]["curves"][filling]
            assert curve[SHARES.index(share)] == pytest.approx(right / 60)
    assert found["methods"]["gradient"]["kept"]["black"]["mean"] == found["methods"]["gradient"]["curves"]["black"][5]


def test_curves_begin_and_end_alike_for_all_methods_and_areas_lie_below_them(found):
    own = found["methods"]
    assert list(own) == [*METHODS, "random", "edges"]
    for filling in FILLINGS:
        assert len({figures["curves"][filling][0] for figures in own.values()}) == 1
        assert {figures["curves"][filling][-1] for figures in own.values()} == {found["accuracy"]["mean"]}
    for figures in own.values():
        assert min(figures["removed"]) <= figures["deletion"]["mean"] <= max(figures["removed"])
        low, high = figures["kept"]["mean"]["interval"]
        assert low <= figures["kept"]["mean"]["mean"] <= high


def test_figures_of_maps_are_those_of_their_functions(found, seen):
    model, images, _, targets = seen
    maps = {name: attribute(model, images, targets, name, 3) for name in ("self", "gradient", "edges")}
    own = found["methods"]["gradient"]
    names = list(found["methods"])
    assert own["complexity"]["mean"] == pytest.approx(float(complexity(maps["gradient"]).mean()), rel=1e-5)
    expected = float(spearman(maps["gradient"], maps["edges"]).mean())
    assert own["correlation"][names.index("edges")] == pytest.approx(expected, abs=1e-5)
    expected = float(overlap(maps["gradient"], maps["self"]).mean())
    assert own["overlap"][names.index("self")] == pytest.approx(expected, abs=0.02)  # ties fall otherwise
    *_, (_, shuffled) = randomised(model, 3)
    rows = torch.arange(60)[:: 60 // 32][:32]
    again = attribute(shuffled, images[rows], targets[rows], "gradient", 3)
    expected = float(spearman(maps["gradient"][rows], again).nanmean())
    assert own["randomised"]["mean"] == pytest.approx(expected, abs=1e-4)


def test_controls_know_nothing_of_the_model(found):
    for control in ("random", "edges"):
        assert found["methods"][control]["randomised"]["mean"] == pytest.approx(1.0)
    assert found["methods"]["self"]["insertion"]["mean"] > found["methods"]["random"]["insertion"]["mean"]
    assert found["methods"]["self"]["deletion"]["mean"] < found["methods"]["random"]["deletion"]["mean"]


def test_what_was_measured_is_not_measured_again_and_the_run_stays(run, found, monkeypatch):
    def refuse(*_):
        raise AssertionError("the images were read")

    model = (run.folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(MemoryImages, "take", refuse)
    assert json.dumps(faithfulness(run, METHODS, **ASKED)) == json.dumps(found)
    with pytest.raises(AssertionError, match="were read"):
        faithfulness(run, METHODS, **ASKED | {"seed": 4})
    assert (run.folder / "model.safetensors").read_bytes() == model


def test_a_killed_measurement_goes_on_where_it_was(run, monkeypatch):
    """And finds what one finds that was not; a damaged part and one of other questions are made anew."""
    asked = {"methods": ["gradient"], "images": 120, "seed": 5}
    whole = faithfulness(run, **asked, again=True)
    parts, real, scored = run.folder / "faithfulness.parts", looking.scored, []
    assert not parts.exists()

    def until(stop):
        def counted(*given):
            scored.append(given)
            if len(scored) == stop:
                raise KeyboardInterrupt
            return real(*given)

        monkeypatch.setattr("protolens.evaluation.looking.scored", counted)

    until(3)
    with pytest.raises(KeyboardInterrupt):
        faithfulness(run, **asked, again=True)
    _, second = sorted(path for path in parts.iterdir() if not path.name.startswith("closer"))
    second.write_bytes(second.read_bytes()[:-1])
    until(None)
    (run.folder / "faithfulness.json").unlink()
    again = faithfulness(run, **asked)
    assert len(scored) == 3 + 2  # the damaged one, and the one that was begun
    assert not parts.exists()
    for content in (whole, again):
        for timed in (content, *content["methods"].values()):
            timed.pop("seconds")
        del content["forecast"]
    assert again == whole


def test_parts_of_another_question_are_not_taken(tmp_path):
    made = []

    def make(value):
        made.append(value)
        return {"values": torch.tensor([value])}

    for question, value in (("a", 1.0), ("a", 2.0), ("b", 3.0)):
        Parts.of(tmp_path, {"asked": question}).take("part", lambda value=value: make(value))
    assert made == [1.0, 3.0]


SCRIPT = """
import json, sys
from protolens.evaluation import faithfulness
print(json.dumps(faithfulness(sys.argv[1], ["gradient"], images=70, again=True)))
"""


def test_two_processes_find_what_one_finds(run, tmp_path):
    alone = faithfulness(run, ["gradient"], images=70, again=True)["methods"]["gradient"]
    lines = torchrun(tmp_path / "script.py", SCRIPT, [str(run.folder)], 2).splitlines()
    assert len(lines) == 2
    for line in lines:
        own = json.loads(line)["methods"]["gradient"]
        assert own["curves"] == alone["curves"]
        for key in ("insertion", "road", "randomised", "sensitivity"):
            assert own[key]["mean"] == pytest.approx(alone[key]["mean"], rel=1e-3)


def test_images_that_show_several_classes_are_right_when_all_are(several, tmp_path, monkeypatch):
    monkeypatch.setattr("protolens.evaluation.methods.open_data", lambda _: several)
    config = digits_run(data={"name": "pairs"}, model={"name": "blackbox"}, stages={"train": {"epochs": 3}})
    run = fit(config, tmp_path / "run")
    found = faithfulness(run, ["gradient"], images=40)
    rows = drawn(200, 40, 0)
    with torch.no_grad():
        said = run.model()(to_float(several.test.take(rows), "cpu")) > 0
    right = (said == several.test.labels[rows].bool()).all(dim=1)
    assert found["accuracy"]["mean"] == pytest.approx(float(right.double().mean()))


def test_where_boxes_and_parts_are_known_it_is_told_whether_maps_point_at_them(run, monkeypatch):
    data = open_data(run.config.data)
    box, part = np.array([2, 0, 6, 8], dtype=np.float32), np.array([[4.5, 3.5], [np.nan, np.nan]], dtype=np.float32)
    data.test.annotations = Annotations(marks=lambda _: (box, part))
    monkeypatch.setattr("protolens.evaluation.methods.open_data", lambda _: data)
    found = faithfulness(run, ["gradient"], images=60, seed=3, again=True)
    model, images = run.model(), to_float(data.test.take(drawn(len(data.test), 60, 3)), "cpu")
    highest = attribute(model, images, None, "gradient", 3).flatten(1).argmax(dim=1)
    x, y = highest % 8, highest // 8
    own = found["methods"]["gradient"]
    assert own["in_box"]["mean"] == pytest.approx(float(((x >= 2) & (x < 6)).double().mean()))
    near = (x - 4).square() + (y - 3).square() <= (8 * 15 / 224) ** 2
    assert own["at_parts"]["mean"] == pytest.approx(float(near.double().mean()))
    assert "in the box" in write_faithfulness(run, found).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"methods": ["limes"]}, "limes is not a method; did you mean lime"),
        ({"images": 1}, "1 images are too few"),
        ({"precision": "half"}, "half is not a precision"),
    ],
)
def test_bad_questions_are_answered_in_a_sentence(run, asked, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        faithfulness(run, **{"methods": ["edges"], **asked})


def test_images_of_a_smaller_sample_are_among_those_of_a_larger_one():
    for there, seed in ((100, 0), (1000, 7)):
        samples = [set(drawn(there, images, seed).tolist()) for images in range(0, there, 13)]
        assert all(small < large for small, large in pairwise(samples))
        assert all(len(sample) == 13 * number for number, sample in enumerate(samples))


def test_a_budget_buys_images_and_says_so_everywhere(run, capsys, monkeypatch):
    def rate(work, most):
        work(most)
        return 0.25

    monkeypatch.setattr("protolens.evaluation.methods.rate_of", rate)
    words = ["evaluate", str(run.folder), "--method", "gradient", "--images", "300", "--seed", "5", "--budget"]
    assert main([*words, "200s", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    # half a second an image and method, and a little of the budget for reading
    assert 30 <= found["images"] < 300 / 2
    assert (found["budget"], found["forecast"]["images"], found["forecast"]["wanted"]) == (200, found["images"], 300)
    assert 150 < found["forecast"]["seconds"] <= 200
    assert found["closer"] == found["images"] // 8
    assert "of 300 images (all would take about" in told.err
    widest = max(
        kept["interval"][1] - kept["interval"][0] for own in found["methods"].values() for kept in own["kept"].values()
    )
    bought = f"within 3 min 20 s: {found['images']} of 300 images; accuracy kept is known to ±{50 * widest:.1f} points"
    assert found["bought"] == bought
    text = (run.folder / "faithfulness.html").read_text(encoding="utf-8")
    assert bought in text
    assert "--images 300 --seed 5 --budget 3m20s" in text
    # the same question is not measured again
    assert main([*words, "200s"]) == 0
    assert bought in capsys.readouterr().out.replace("\n", " ")
    assert json.loads((run.folder / "faithfulness.json").read_text())["seconds"] == found["seconds"]
    assert main([*words, "5s"]) == 1
    assert re.search(
        r"--budget 5s reaches for \d images, and fewer than 30 say too little; 30 take about", capsys.readouterr().err
    )
    assert main([*words, "soon"]) == 1
    assert "'soon' is no span of time; write 90s" in capsys.readouterr().err
    assert main(["evaluate", str(run.folder), "--budget", "5m"]) == 1
    assert "--budget is for --method, --beside, --robustness and --uncertainty" in capsys.readouterr().err


def test_a_mean_without_figures_has_none():
    assert mean_of(torch.tensor([torch.nan, torch.nan])) == {"mean": None, "interval": None}
    assert mean_of(torch.tensor([1.0, torch.nan, 3.0]))["mean"] == 2.0


def test_methods_that_cannot_explain_a_model_are_named():
    model = build_model({"name": "concepts"}, make_task(3, (32, 32)), 0)
    failing = methods_that_fail(model, torch.rand(1, 3, 32, 32))
    assert {"gradient", "integrated-gradients", "smoothgrad", "gradcam"} <= set(failing)
    assert "lime" not in failing
    assert "no slope" in failing["gradient"]


def test_the_page_shows_every_method_and_every_filling(run, found):
    text = write_faithfulness(run, found).read_text(encoding="utf-8")
    assert text.count("<figcaption>") == len(FILLINGS) + 2
    assert text.count('class="legend"') == 1
    for title in ("the model itself", "LIME", "gradient", "random (control)", "edges (control)"):
        assert text.count(f'<th scope="row">{title}</th>') == 2
    assert "--method self,lime,gradient,random,edges --images 60 --seed 3 --samples 60" in text


def test_the_verb_measures_methods_and_leaves_a_page(run, capsys):
    words = ["evaluate", str(run.folder), "--method", "self,gradient", "--images", "40", "--samples", "50"]
    assert main(words) == 0
    assert "gradient" in capsys.readouterr().out
    assert (run.folder / "faithfulness.html").exists()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 40
    assert main([*words, "--samples", "0"]) == 1
    assert "--samples is 0" in capsys.readouterr().err
