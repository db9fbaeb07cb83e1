"""A hub folder opens again to the same bits, says nothing of this machine, and is whole or not there."""

import json
from pathlib import Path

import pytest
import torch

import protolens
from protolens.config import RunConfig, build, to_mapping
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import evaluate
from protolens.explanation import explain
from protolens.exporting import export
from protolens.exporting.formats import beside
from protolens.exporting.hub import write_run
from protolens.exporting.publishing import last_part, own_code, public, public_name
from protolens.models import MODELS, state_digest
from protolens.train import Run, convert, fit
from tests.conftest import digits_run
from tests.exporting.conftest import folder_around
from tests.exporting.test_onnx import CHOICES, name_of


@pytest.fixture(scope="module")
def hub(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "my digits"
    export(trained, folder, format="hf")
    return folder


@pytest.mark.parametrize(("choice", "bands", "size"), CHOICES, ids=name_of)
def test_any_model_comes_back_from_what_is_written_to_the_same_bits(choice, bands, size, tmp_path):
    run = folder_around(tmp_path / "run", choice, bands, size)
    write_run(run, tmp_path / "hub")
    model, again = run.model(), Run.open(tmp_path / "hub").model()
    images = torch.rand(3, bands, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model(images), again(images))
    assert state_digest(again) == state_digest(model) == Run.open(tmp_path / "hub").facts["model"]["digest"]
    assert (again.settings, again.task) == (model.settings, model.task)


def test_every_registered_model_comes_back_here():
    assert {choice["name"] for choice, _, _ in CHOICES} == set(MODELS)


def test_the_two_lines_on_the_card_open_the_model_to_the_same_bits(trained, hub, monkeypatch):
    monkeypatch.chdir(hub.parent)
    code = (hub / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) == 2
    found: dict[str, object] = {}
    exec(code, found)
    images = to_float(open_data(trained.config.data).validation.take(torch.arange(60)), "cpu")
    with torch.inference_mode():
        assert torch.equal(found["model"](images), trained.model()(images))


def test_the_folder_explains_and_measures_as_the_run_does(trained, hub, tmp_path):
    picture = trained.folder / "prototypes" / "0003-nearest.png"
    (mine,), (theirs,) = explain(trained, [picture]), explain(hub, [picture])
    assert mine.to_dict() == theirs.to_dict()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in hub.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(hub)).parent.mkdir(exist_ok=True)
            (copy / path.relative_to(hub)).write_bytes(path.read_bytes())
    assert evaluate(copy).accuracy == evaluate(trained).accuracy


def test_the_run_is_left_as_it_was(trained, tmp_path):
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    state = torch.get_rng_state()
    report = export(trained, tmp_path / "hub", format="hf", license="mit")
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "hub" / "model.safetensors").read_bytes() == before[trained.folder / "model.safetensors"]
    there = {str(path.relative_to(tmp_path / "hub")) for path in (tmp_path / "hub").rglob("*") if path.is_file()}
    assert set(report["files"]) == there
    assert {"README.md", "config.json", "config.toml", "model.safetensors", "run.json"} <= there
    assert {f"pictures/prototype-{number}.png" for number in range(3)} <= there
    assert not {"last.pt", "evaluation.json", "answers.safetensors", "report.html"} & there
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


def test_config_json_holds_what_programs_ask(trained, hub):
    found = json.loads((hub / "config.json").read_text())
    assert found["classes"] == list("0123456789")
    assert found["id2label"]["7"] == "7"
    assert found["label2id"]["7"] == 7
    assert (found["height"], found["width"], found["bands"], found["several"]) == (8, 8, 1, False)
    assert found["model"] == {"name": "prototypedl", **to_mapping(trained.model().settings)}
    assert found["protolens_version"] == protolens.__version__
    assert found["data"]["digests"] == open_data(trained.config.data).digests


def test_a_converted_run_is_published_without_the_place_of_its_network(trained, tmp_path):
    run = convert(trained, tmp_path / "digits-kmex")
    evaluate(run)
    export(run, tmp_path / "hub", format="hf")
    again = Run.open(tmp_path / "hub")
    assert again.config.model["weights"] == again.model().settings.weights == "model.safetensors"
    assert state_digest(again.model()) == state_digest(run.model())
    for path in (tmp_path / "hub").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes()
            assert str(trained.folder).encode() not in path.read_bytes()
    assert "weights that it begins with, which are not in this folder: model.safetensors" in (
        tmp_path / "hub" / "README.md"
    ).read_text().replace("\\", "")


def test_a_run_without_an_evaluation_or_with_that_of_another_model_says_what_to_do(trained, tmp_path):
    run = fit(digits_run(stages={"train": {"epochs": 1}}), tmp_path / "run")
    sentence = r"has no evaluation, from which a model card is made; call `protolens evaluate .*run` first"
    with pytest.raises(ProtolensError, match=sentence):
        export(run, tmp_path / "hub", format="hf")
    (run.folder / "evaluation.json").write_bytes((trained.folder / "evaluation.json").read_bytes())
    with pytest.raises(ProtolensError, match=sentence):
        export(run, tmp_path / "hub", format="hf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_network_of_one_s_own_code_is_refused(trained, tmp_path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))"
    )
    run = folder_around(tmp_path / "run", {"name": "network", "source": f"{tmp_path}/own.py:make"}, 1, (8, 8))
    evaluation = json.loads((trained.folder / "evaluation.json").read_text())
    (run.folder / "evaluation.json").write_text(json.dumps(evaluation | {"model": run.facts["model"]["digest"]}))
    with pytest.raises(ProtolensError, match=r"a network of your own code \(.*own\.py:make\), which nobody else"):
        export(run, tmp_path / "hub", format="hf")


def test_a_folder_that_is_there_stays_as_it_is(trained, hub):
    (hub / "README.md").write_text((hub / "README.md").read_text() + "\nMine.\n")
    with pytest.raises(ProtolensError, match=r"my digits exists already; name another folder by --out"):
        export(trained, hub, format="hf")
    assert (hub / "README.md").read_text().endswith("Mine.\n")


def test_where_something_fails_nothing_is_left(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("protolens.exporting.hub.card", fail)
    with pytest.raises(ProtolensError, match=r"hub cannot be written \(No space left on device\)"):
        export(trained, tmp_path / "hub", format="hf")
    assert not list(tmp_path.iterdir())


def test_what_is_not_the_model_is_not_published(trained, tmp_path, monkeypatch):
    from protolens.exporting import hub as room

    original = room.without_paths

    def other(path):
        content = bytearray(original(path))
        content[-1] ^= 1
        return bytes(content)

    monkeypatch.setattr(room, "without_paths", other)
    with pytest.raises(ProtolensError, match="gives other logits than the model"):
        export(trained, tmp_path / "hub", format="hf")
    assert not list(tmp_path.iterdir())


def test_words_that_do_not_go_together_are_one_sentence(trained, tmp_path):
    with pytest.raises(ProtolensError, match=r"onxx is no format of export; did you mean onnx\?"):
        export(trained, tmp_path / "x", format="onxx")
    with pytest.raises(ProtolensError, match="--license is for the model card of --format hf"):
        export(trained, tmp_path / "x", license="mit")
    with pytest.raises(
        ProtolensError, match="--license Do What You Want is no identifier; write one such as apache-2.0"
    ):
        export(trained, tmp_path / "x", format="hf", license="Do What You Want")


def test_the_folder_lies_beside_the_run(tmp_path, monkeypatch):
    (tmp_path / "run" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run" / "inner")
    assert beside(Path("runs/digits")) == Path("runs/digits-hf")
    assert beside(Path()) == tmp_path / "run" / "inner-hf"
    assert beside(Path("..")) == tmp_path / "run-hf"


def test_settings_lose_their_paths_and_nothing_else():
    settings = {
        "data": {"name": "folder:/home/me/birds", "root": "/data", "group": "a/b"},
        "model": {"name": "kmex", "weights": "/home/me/run/model.safetensors", "of": {"weights": "C:\\w\\x.pth"}},
        "stages": {"train": {"weights": {"classification": 1.0}, "rates": {"root": 0.1}}},
    }
    assert public(settings) == {
        "data": {"name": "folder:birds", "group": "a/b"},
        "model": {"name": "kmex", "weights": "model.safetensors", "of": {"weights": "x.pth"}},
        "stages": {"train": {"weights": {"classification": 1.0}, "rates": {"root": 0.1}}},
    }
    config = build(RunConfig, {"data": {"name": "mnist", "root": "/data"}}, "a test")
    assert public(to_mapping(config)) == to_mapping(build(RunConfig, {"data": {"name": "mnist"}}, "a test"))


def test_names_of_sets_and_code():
    assert [public_name(name) for name in ("mnist", "medmnist:chest", "landcover:/x/tiles/")] == [
        "mnist", "medmnist:chest", "landcover:tiles"
    ]  # fmt: skip
    assert last_part("a/b.safetensors") == "b.safetensors"
    assert last_part("") == ""
    assert own_code({"model": {"of": {"source": "/x/own.py:make"}}}) == "/x/own.py:make"
    assert own_code({"model": {"source": "torchvision:resnet18", "of": {"source": "package.module:make"}}}) == ""
