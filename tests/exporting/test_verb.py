"""The verb `export` through the real command."""

import json

import onnxruntime

import protolens
from protolens.cli import main


def test_the_words_write_a_file_and_say_how_far_it_is_from_the_model(trained, tmp_path, capsys):
    assert main(["export", str(trained.folder), "--out", str(tmp_path / "a.onnx")]) == 0
    said = capsys.readouterr().out
    for words in ("logits", "similarities", "contributions", "largest difference", "batch x 15 x 10"):
        assert words in said
    assert "held against the model on 33 validation images, in batches of 1 and 32" in said
    assert "without maps: prototypes of this model stand for whole images" in said
    assert said.splitlines()[-1] == str(tmp_path / "a.onnx")
    assert onnxruntime.InferenceSession(str(tmp_path / "a.onnx")).get_inputs()[0].shape == ["batch", 1, 8, 8]


def test_json_is_the_report(trained, tmp_path, capsys):
    assert main(["export", str(trained.folder), "--out", str(tmp_path / "a.onnx"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "a.onnx.json").read_text())
    assert set(report["outputs"]) == {"logits", "similarities", "contributions"}
    assert all(own["difference"] < own["allowed"] for own in report["outputs"].values())
    assert report["tolerance"].startswith("0.0001 of the largest value")


def test_a_folder_for_a_hub_asks_for_a_license(trained, tmp_path, capsys):
    words = ["export", str(trained.folder), "--format", "hf"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 0
    assert "asks for a license: fill it in" in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "b"), "--license", "mit"]) == 0
    assert "license" not in capsys.readouterr().out
    assert main([*words, "--out", str(tmp_path / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "c")


def test_errors_are_one_sentence(trained, tmp_path, capsys):
    assert main(["export", str(trained.folder), "--format", "onxx"]) == 1
    assert capsys.readouterr().err == "protolens: onxx is no format of export; did you mean onnx?\n"
    assert main(["export", str(tmp_path)]) == 1
    assert "is not a run folder" in capsys.readouterr().err


def test_in_python_it_is_a_function(trained, tmp_path):
    assert protolens.export(trained, tmp_path / "a", format="hf")["folder"] == str(tmp_path / "a")
    assert protolens.Run.open(tmp_path / "a").model().name == "prototypedl"
