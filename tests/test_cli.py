"""The words that people type: each through the real command, errors as one sentence, exit codes not zero."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protolens import __version__
from protolens.cli import main

SHORT = ["--epochs", "2"]


def fails(capsys, *words: str) -> str:
    """Run the words, which must fail; returns the sentence."""
    assert main([str(word) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("protolens: ")
    return error.removeprefix("protolens: ")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["fit", "--epochs", "5", "--train.batch", "64", "--out", str(folder)]) == 0
    return folder


def test_importing_protolens_and_asking_for_help_import_no_torch():
    script = "import sys, protolens.cli; protolens.cli.main(['--help']) if len(sys.argv) > 1 else 0"
    check = f"try:\n    {script}\nexcept SystemExit: pass\nassert not {{'torch', 'numpy', 'rich'}} & set(sys.modules)"
    for words in ([], ["--help"]):
        subprocess.run([sys.executable, "-c", f"import sys\n{check}", *words], check=True, capture_output=True)


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"protolens {__version__}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fti"], r"fti is not a verb; did you mean fit\?"),
        (["fit", "--modle", "x"], r"--modle is not an option of fit; did you mean --model\?"),
        (["fit", "mnist-prototypdl"], r"mnist-prototypdl is not a recipe; did you mean mnist-prototypedl\?"),
        (["fit", "nowhere.toml"], r"nowhere\.toml does not exist; `protolens list recipes` names recipes"),
        (["fit", "--model", "prototypeDL"], r"prototypeDL is not a model; did you mean prototypedl\?"),
        (["fit", "--data", "minst"], r"data\.name = minst is no known data set; did you mean mnist\?"),
        (["fit", "--model.prototype", "3"], r"model\.prototype is not a setting of prototypedl; did you mean"),
        (["fit", "--model.prototypes", "-3"], r"model\.prototypes cannot be '-3': input should be greater than 0"),
        (["fit", "--model.prototypes"], r"--model\.prototypes needs a value behind it"),
        (["fit", "--seed", "one"], r"argument --seed: invalid int value: 'one'"),
        (["fit", "--device", "tpu"], r"train\.device cannot be 'tpu'"),
        (["evaluate", "nowhere"], r"nowhere is not a run folder: it has no config\.toml; `protolens fit` makes one"),
        (["explain", "nowhere", "x.png"], r"nowhere is not a run folder"),
        (["list", "modles"], r"modles cannot be listed; did you mean models\?"),
    ],
)
def test_a_wrong_word_is_one_sentence(words, sentence, capsys, tmp_path):
    out = ["--out", tmp_path / "run"] if words[0] == "fit" else []
    assert re.search(sentence, fails(capsys, *words, *out))


def test_a_recipe_that_is_no_toml_or_has_an_unknown_key_is_named(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[data\n")
    assert "mine.toml is not a readable TOML file" in fails(capsys, "fit", path)
    path.write_text("[data]\nnam = 'digits'\n")
    assert fails(capsys, "fit", path) == "mine.toml: data.nam is not a setting; did you mean data.name?"


def test_fit_leaves_a_run_folder_with_all_its_files_and_says_what_is_next(run, capsys):
    files = {
        "config.toml",
        "history.jsonl",
        "last.pt",
        "model.safetensors",
        "prototypes.json",
        "report.html",
        "run.json",
    }
    assert files <= {path.name for path in run.iterdir()}
    assert len(list((run / "prototypes").glob("*-nearest.png"))) == 15


def test_fit_prints_what_was_chosen_as_json(tmp_path, capsys):
    assert main(["fit", *SHORT, "--json", "--out", str(tmp_path / "run")]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["run"] == str(tmp_path / "run")
    assert 0 <= result["validation"] <= 1


def test_evaluate_prints_figures_and_json(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    said = capsys.readouterr().out
    assert "balanced accuracy" in said
    assert "95 % interval" in said
    assert main(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 359
    assert result["accuracy_interval"][0] < result["accuracy"] < result["accuracy_interval"][1]


def test_explain_shows_rows_that_sum_to_the_logit_and_writes_a_page(run, capsys, tmp_path):
    image = tmp_path / "four.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)).save(image)
    assert main(["explain", str(run), str(image), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    numbers = [float(value) for value in re.findall(r"([+-]\d+\.\d+) │\s*$", said, flags=re.MULTILINE)]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.05)
    assert (tmp_path / "out" / "explanations.html").exists()
    assert main(["explain", str(run), str(image), "--json", "--target", "3", "--out", str(tmp_path / "out")]) == 0
    (explanation,) = json.loads(capsys.readouterr().out)
    assert explanation["explained"] == "3"


def test_explaining_what_is_no_image_is_one_sentence(run, capsys, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no picture")
    assert "notes.png cannot be read" in fails(capsys, "explain", run, path)
    assert "missing.png" in fails(capsys, "explain", run, tmp_path / "missing.png")
    path = tmp_path / "x.png"
    Image.new("L", (8, 8)).save(path)
    assert "eleven is not a class of this model" in fails(capsys, "explain", run, path, "--target", "eleven")


def test_explaining_a_whole_set_says_where_its_rows_are(run, capsys, tmp_path):
    words = ["explain", str(run), "--data", "digits", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--method", "edges", "--shard", "100"]) == 0
    assert capsys.readouterr().out == f"143 rows in 2 shards in {tmp_path / 'out'}\n"
    assert main([*words, "--method", "edges", "--shard", "100"]) == 0
    assert capsys.readouterr().out == f"143 rows in 2 shards in {tmp_path / 'out'}, 2 of them there already\n"
    assert main([*words, "--shard", "100", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"folder": str(tmp_path / "out"), "shards": 2, "rows": 143, "made": 2}


def test_words_for_whole_sets_and_for_images_do_not_mix(run, capsys, tmp_path):
    assert "say into which folder with --out DIR" in fails(capsys, "explain", run, "--data", "digits")
    words = ["explain", run, "x.png", "--data", "digits", "--out", tmp_path / "out"]
    assert fails(capsys, *words) == "explain takes image files or --data, not both; leave x.png out"
    assert fails(capsys, "explain", run, "--split", "training").startswith("--split is for a whole set; name one with")
    assert "--skip-unreadable is for a whole set" in fails(capsys, "explain", run, "x.png", "--skip-unreadable")
    assert "neither image files nor --data" in fails(capsys, *words, "--each", "2")
    assert "neither image files nor --data" in fails(
        capsys, "explain", run, "x.png", "--method", "edges", "--each", "2"
    )
    words = ["explain", run, "--data", "digits", "--out", tmp_path / "out"]
    assert "did you mean lime?" in fails(capsys, *words, "--method", "edges,lme")
    assert "which only evaluate reads" in fails(capsys, *words, "--split", "test")
    (tmp_path / "out").write_text("a file")
    assert "cannot be written" in fails(capsys, *words)


@pytest.mark.parametrize("what", ["models", "data", "recipes", "settings"])
def test_each_list_has_rows_and_json(what, capsys):
    assert main(["list", what]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 2
    assert main(["list", what, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) > 1


def test_an_unexpected_error_is_one_sentence_and_a_traceback_only_with_debug(run, capsys, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("a fault of ours\nwith a second line")

    monkeypatch.setattr("protolens.evaluation.evaluate", fail)
    assert main(["evaluate", str(run)]) == 2
    expected = "protolens: unexpected RuntimeError (a fault of ours); --debug shows where\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(RuntimeError):
        main(["evaluate", str(run), "--debug"])


def test_a_model_with_several_stages_wants_the_epochs_of_each(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("protolens.models.stage_names", lambda *_: ["warm", "joint"])
    sentence = fails(capsys, "fit", "--epochs", "3", "--out", tmp_path / "run")
    assert sentence == ("--epochs: prototypedl has several stages; write --stages.warm.epochs, --stages.joint.epochs")


def test_weights_that_a_model_cannot_use_or_that_are_not_there_are_one_sentence(tmp_path, capsys):
    assert main(["fit", "--data", "digits", "--weights", "file.safetensors", "--out", str(tmp_path / "a")]) == 1
    assert "model.weights is not a setting of prototypedl" in capsys.readouterr().err
    words = ["fit", "--model", "protopnet", "--data", "digits", "--weights", str(tmp_path / "none.safetensors")]
    assert main([*words, "--out", str(tmp_path / "b")]) == 1
    assert "none.safetensors does not exist; weights are never downloaded" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
