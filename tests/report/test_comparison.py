"""Methods side by side, from a real run to its page."""

import json

import pytest
import torch
from PIL import Image

from protolens.attribution import METHODS, attribute
from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation.maps import spearman
from protolens.explanation import compare_methods
from protolens.report import write_comparison
from protolens.report.about import option_words
from protolens.train import Run, fit
from tests.conftest import digits_run

FEW = {"lime": {"samples": 60}, "kernelshap": {"samples": 130}}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return fit(digits_run(model={"name": "protovae", "per_class": 2}), tmp_path_factory.mktemp("comparison") / "run")


@pytest.fixture(scope="module")
def compared(run):
    return compare_methods(run, list(METHODS), each=1, seed=4, options=FEW)


def test_images_of_each_class_are_drawn_by_the_seed_from_validation(run, compared):
    validation = open_data(run.config.data).validation
    assert [subject.label for subject in compared.subjects] == [str(digit) for digit in range(10)]
    for subject, pixels in zip(compared.subjects, compared.pixels, strict=True):
        assert validation.names[subject.index] == subject.image
        assert torch.equal(validation.take(torch.tensor([subject.index]))[0], pixels)
    again, other = (compare_methods(run, ["edges"], each=1, seed=seed) for seed in (4, 5))
    assert again.subjects == compared.subjects
    assert other.subjects != compared.subjects
    assert len(compare_methods(run, ["edges"], each=3).subjects) == 30


def test_maps_are_those_of_attribute_for_the_predicted_class(run, compared):
    model, images = run.model(), to_float(compared.pixels, "cpu")
    with torch.no_grad():
        logits = model.eval()(images)
    assert list(compared.predicted) == [run.facts["data"]["classes"][k] for k in logits.argmax(dim=1).tolist()]
    assert list(compared.probability) == pytest.approx(logits.double().softmax(1).amax(1).tolist(), rel=1e-4)
    for name in ("self", "lrp", "kernelshap"):
        expected = attribute(model, images, None, name, 4, **FEW.get(name, {}))
        torch.testing.assert_close(compared.maps[name], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_page_the_figure_and_the_data_show_every_method(run, compared, tmp_path):
    path = write_comparison(run, compared, tmp_path)
    text, content = path.read_text(encoding="utf-8"), json.loads((tmp_path / "comparison.json").read_text())
    assert text.count("<td><img") == 10 * (1 + len(METHODS))
    assert f"--method {','.join(METHODS)} --seed 4 --each 1" in text
    assert list(content["methods"]) == list(METHODS)
    assert len(content["images"]) == 10
    mean = float(spearman(compared.maps["lrp"], compared.maps["edges"]).nanmean())
    assert content["methods"]["lrp"]["agreement"][list(METHODS).index("edges")] == pytest.approx(mean)
    assert content["methods"]["lrp"]["agreement"][list(METHODS).index("lrp")] == pytest.approx(1.0)
    with Image.open(tmp_path / "comparison.png") as figure:
        assert figure.size[0] > 13 * 64
    for name, method in content["methods"].items():
        largest = torch.tensor([image["maps"][name] for image in content["images"]]).abs()
        assert (largest > method["full_colour_at"]).double().mean() <= 0.005 + 1 / 640


def test_one_command_makes_the_page_for_files_and_for_drawn_images(run, tmp_path, capsys):
    Image.effect_noise((8, 8), 90).save(tmp_path / "a noise.png")
    words = ["explain", str(run.folder), str(tmp_path / "a noise.png"), "--method", "lrp,random,lrp"]
    assert main([*words, "--out", str(tmp_path / "files")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "files" / "comparison.html")
    content = json.loads((tmp_path / "files" / "comparison.json").read_text())
    assert list(content["methods"]) == ["lrp", "random"]
    assert content["images"][0]["label"] is None
    assert "'" in content["command"]
    assert main(["explain", str(run.folder), "--method", "edges", "--each", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(run.folder / "explanations" / "comparison.html")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "explain needs image files, --method to compare methods on validation images, or --data"),
        (["--method", "lime,lpr"], "lpr is not a method; did you mean"),
        (["--method", "edges", "--each", "0"], "--each is 0; draw 1 image of each class or more"),
        (["--method", "edges", "--target", "11"], "11 is not a class of this model"),
    ],
)
def test_bad_words_are_answered_in_a_sentence(run, words, sentence, capsys):
    assert main(["explain", str(run.folder), *words]) == 1
    assert sentence in capsys.readouterr().err


def test_a_several_class_set_draws_images_that_show_each_class():
    from protolens.explanation.comparing import drawn_of_each
    from tests.conftest import pairs_of_digits

    images = pairs_of_digits().validation
    subjects, pixels = drawn_of_each(images, [str(digit) for digit in range(10)], 2, 0)
    assert len(subjects) == len(pixels) == 20
    assert all(str(number // 2) in subject.label.split(", ") for number, subject in enumerate(subjects))


def test_methods_are_checked_before_any_work(run):
    with pytest.raises(ProtolensError, match="edge is not a method; did you mean edges"):
        compare_methods(run, ["lime", "edge"])


def test_the_command_tells_options_that_all_methods_share():
    assert option_words([{"samples": 300}, {}, {"samples": 300, "precision": "bfloat16"}]) == [
        *("--samples", "300", "--precision", "bfloat16")
    ]
    assert option_words(FEW.values()) == []
