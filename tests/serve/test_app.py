"""What the addresses answer, held against the run folders and the rooms below."""

import itertools
import json

import numpy as np
import pytest
import torch

from protolens.attribution import attribute
from protolens.data import open_data, to_float
from protolens.explanation import Subject, explain_images
from protolens.files import read_json
from protolens.models import state_digest
from protolens.serve.exhibit import ORDERS
from protolens.serve.shelf import Shelf, free_name
from protolens.train import Run
from tests.serve.conftest import ASKS
from tests.serve.test_uploads import png

NAMES = ("prototypedl", "protopnet")


def test_runs_are_told_from_their_folders(client, runs):
    found = {run["name"]: run for run in client.get("/api/runs")["runs"]}
    assert list(found) == list(NAMES)
    for name, run in runs.items():
        evaluation = read_json(run.folder / "evaluation.json")
        assert found[name]["accuracy"] == evaluation["accuracy"]
        assert found[name]["interval"] == evaluation["accuracy_interval"]
        assert found[name]["splits"]["test"] == evaluation["images"]
        assert found[name]["prototypes"] == len(run.prototypes)
        assert str(run.folder.parent) not in json.dumps(found[name])


def test_a_run_that_was_not_evaluated_shows_validation_images_alone(runs, tmp_path):
    import shutil

    copy = tmp_path / "plain"
    shutil.copytree(runs["prototypedl"].folder, copy)
    (copy / "evaluation.json").unlink()
    (copy / "answers.safetensors").unlink()
    exhibit = Shelf([copy]).find("plain")
    assert exhibit.splits == ["validation"]
    with pytest.raises(Exception, match="protolens evaluate .* reads it"):
        exhibit.images("test")
    known = runs["prototypedl"].folder / "answers.safetensors"
    from safetensors.torch import load_file

    assert torch.allclose(exhibit.logits("validation"), load_file(known)["validation_logits"], atol=1e-5)
    # once it is evaluated, the page shows it without being started again
    shutil.copy(known, copy)
    assert exhibit.splits == ["test", "validation"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["test", "validation"])
def test_an_explanation_is_that_of_the_model(client, runs, name, split):
    run = runs[name]
    model, data = run.model(), open_data(run.config.data)
    images = data.test if split == "test" else data.validation
    usual = torch.tensor([entry["usual_similarity"] for entry in run.prototypes])
    subject = Subject(images.names[5], 5, data.task.classes[int(images.labels[5])])
    pixels = to_float(images.take(torch.tensor([5])), "cpu")
    for target in (None, "3"):
        (expected,) = explain_images(model, pixels, [subject], usual, target)
        found = client.get(f"/api/runs/{name}/why/{split}/5" + (f"?target={target}" if target else ""))
        plain = json.loads(json.dumps(expected.to_dict()))
        assert {key: found[key] for key in plain} == plain
        assert found["bias"] + sum(reason["contribution"] for reason in found["reasons"]) == pytest.approx(
            found["logit"], abs=1e-4
        )
        assert set(found["heat"]) == {str(number) for number in expected.maps}


def test_pictures_are_those_of_the_data_and_the_run(client, runs):
    from io import BytesIO

    from PIL import Image

    run = runs["prototypedl"]
    answer = client.ask("GET", "/api/runs/prototypedl/image/test/7.png")
    assert answer.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(BytesIO(answer.content)))
    assert np.array_equal(pixels, open_data(run.config.data).test.take(torch.tensor([7]))[0, 0].numpy())
    for kind, file in (("nearest", run.prototypes[3]["image"]), ("decoded", run.prototypes[3]["decoded"])):
        answer = client.ask("GET", f"/api/runs/prototypedl/prototypes/3/{kind}.png")
        assert answer.content == (run.folder / file).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_images_come_in_the_order_that_was_asked_for(client, runs, name):
    run = runs[name]
    model, test = run.model(), open_data(run.config.data).test
    with torch.no_grad():
        evidence = model.evidence(to_float(test.take(torch.arange(len(test))), "cpu"))
    shares, labels = evidence.logits.double().softmax(dim=1), test.labels
    said, sure = shares.argmax(dim=1), shares.amax(dim=1)

    def order(by: str, more: str = "") -> list[int]:
        found = client.get(f"/api/runs/{name}/images?split=test&order={by}&count=200{more}")
        assert found["total"] >= len(found["images"])
        return [image["index"] for image in found["images"]]

    assert order("number") == list(range(200))
    mistaken, known = order("mistake"), (said != labels).nonzero().flatten()
    first = mistaken[: len(known)]
    assert set(first) <= set(known.tolist())
    assert len(set(first)) == min(200, len(known))
    gaps = shares.topk(2, dim=1).values
    doubtful = order("doubt")
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise((gaps[doubtful, 0] - gaps[doubtful, 1]).tolist()))
    like = order("prototype", "&prototype=2")
    assert like[0] == int(evidence.similarity[:, 2].argmax())
    few = client.get(f"/api/runs/{name}/images?split=test&order=number&label=3&predicted=3&count=200")["images"]
    assert [each["index"] for each in few] == ((labels == 3) & (said == 3)).nonzero().flatten().tolist()
    assert all(each["probability"] == pytest.approx(float(sure[each["index"]]), abs=1e-5) for each in few)
    assert all(each["right"] for each in few)


def test_disagreement_needs_the_same_images(client):
    found = client.ask("GET", "/api/runs/prototypedl/images?order=disagreement&other=protopnet")
    assert found.status_code == 400  # these are larger
    assert "other test images" in found.json()["error"]
    assert "choose another run" in client.ask("GET", "/api/runs/prototypedl/images?order=disagreement").json()["error"]
    same = client.get("/api/runs/prototypedl/images?order=disagreement&other=prototypedl&count=3")
    assert [image["index"] for image in same["images"]] == [0, 1, 2]  # it never disagrees with itself


def test_the_confusion_is_that_of_the_evaluation(client, runs):
    found = client.get("/api/runs/prototypedl/confusion")
    evaluation = read_json(runs["prototypedl"].folder / "evaluation.json")
    assert found["table"] == evaluation["confusion"]
    assert found["right"] == evaluation["right"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["self", "lime", "edges", "lrp"])
def test_a_map_is_that_of_the_method(client, runs, shelf, name, method):
    run = runs[name]
    before = state_digest(shelf.find(name).model)
    job = client.done(client.post(f"/api/runs/{name}/maps/test/4/{method}?target=2"))
    assert job["state"] == "done", job
    model, test = run.model(), open_data(run.config.data).test
    image = to_float(test.take(torch.tensor([4])), "cpu")
    expected = attribute(model, image, torch.tensor([2]), method, run.config.seed)[0]
    assert job["result"]["full"] == pytest.approx(float(np.quantile(expected.abs().numpy(), 0.995)), rel=1e-4)
    assert job["result"]["picture"].startswith("data:image/png;base64,")
    assert state_digest(shelf.find(name).model) == before
    assert client.post(f"/api/runs/{name}/maps/test/4/{method}?target=2")["id"] == job["id"]  # not made twice


def test_maps_are_held_against_each_other(client):
    for method in ("self", "edges"):
        job = client.done(client.post(f"/api/runs/prototypedl/maps/test/9/{method}"))
    assert -1 <= job["result"]["agreement"]["self"] <= 1


def test_methods_tell_why_they_cannot(client):
    found = client.get("/api/runs/prototypedl/methods")
    assert found["lime"] == ""
    assert found["gradcam"] == "" or found["gradcam"]


def test_prototypes_have_words_and_findings(client, runs):
    found = client.get("/api/runs/protopnet/prototypes")
    assert [each["prototype"] for each in found["prototypes"]] == list(range(len(runs["protopnet"].prototypes)))
    assert all(each["box"] and not each["decoded"] for each in found["prototypes"])
    assert all(each["decoded"] for each in client.get("/api/runs/prototypedl/prototypes")["prototypes"])


@pytest.mark.parametrize("name", NAMES)
def test_codes_stand_in_a_plane(client, name):
    job = client.done(client.post(f"/api/runs/{name}/plane/pca"))
    assert job["state"] == "done", job
    assert 0 < job["result"]["kept"] <= 1
    assert len(job["result"]["prototypes"]) == len(client.get(f"/api/runs/{name}/prototypes")["prototypes"])
    assert client.done(client.post(f"/api/runs/{name}/plane/tsne"))["state"] == "failed"


def test_a_dropped_image_is_explained(client):
    place = client.post("/api/uploads", content=png())
    found = client.get(f"/api/runs/prototypedl/why/{place['split']}/{place['index']}")
    assert (found["image"], found["label"]) == ("your image", None)
    assert client.ask("GET", f"/api/runs/protopnet/image/upload/{place['index']}.png").status_code == 200
    job = client.done(client.post(f"/api/runs/prototypedl/maps/upload/{place['index']}/edges"))
    assert job["state"] == "done"
    answer = client.ask("POST", "/api/uploads", ASKS, content=b"no image")
    assert (answer.status_code, answer.json()["error"][:24]) == (400, "this file cannot be read")
    assert client.ask("POST", "/api/uploads", ASKS, content=b"x" * (50 << 20)).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/nothing/prototypes",
        "/api/runs/..%2f..%2fetc/prototypes",
        "/api/runs/prototypedl/why/test/99999",
        "/api/runs/prototypedl/why/test/-1",
        "/api/runs/prototypedl/why/test/x",
        "/api/runs/prototypedl/why/training/0",
        "/api/runs/prototypedl/why/test/0?target=cat",
        "/api/runs/prototypedl/why/upload/nothing",
        "/api/runs/prototypedl/image/test/1000000000000000000000.png",
        "/api/runs/prototypedl/prototypes/99/nearest.png",
        "/api/runs/prototypedl/images?order=best",
        "/api/runs/prototypedl/images?count=many",
        "/api/runs/prototypedl/images?label=cat",
        "/api/runs/prototypedl/images?order=prototype&prototype=99",
        "/api/runs/prototypedl/confusion?split=training",
        "/api/compare?runs=prototypedl",
        "/api/compare?runs=prototypedl,protopnet",
        "/api/jobs/nothing",
        "/static/..%2fapp.py",
        "/static/app.py",
        "/nothing",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client, path):
    answer = client.ask("GET", path)
    assert 400 <= answer.status_code < 500
    said = answer.json()["error"]
    assert said
    assert "Traceback" not in said
    assert "\n" not in said


def test_the_page_brings_all_its_files(client):
    page = client.ask("GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    import re

    names = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    scripts = [client.ask("GET", name) for name in names]
    assert {answer.status_code for answer in scripts} == {200}
    for name in re.findall(r'from "\./([\w.]+)"', client.ask("GET", "/static/app.js").text):
        assert client.ask("GET", f"/static/{name}").headers["content-type"].startswith("text/javascript")
    assert "http" not in re.sub(r"http://www\.w3\.org/\S+", "", page.text)


def test_names_of_runs_are_told_apart(runs, tmp_path):
    assert free_name("a", ["a", "a-2"]) == "a-3"
    import shutil

    for place in ("one", "two"):
        shutil.copytree(runs["prototypedl"].folder, tmp_path / place / "same")
    shelf = Shelf([tmp_path / "one" / "same", tmp_path / "two" / "same"])
    assert list(shelf.exhibits) == ["same", "same-2"]
    assert shelf.add(Run.open(tmp_path / "two" / "same")) is shelf.find("same-2")
    assert len(shelf.data) == 1  # both look at the same images


def test_every_order_is_an_answer(client):
    for order in ORDERS:
        if order != "disagreement":
            assert client.get(f"/api/runs/protopnet/images?order={order}&count=2")["images"]
