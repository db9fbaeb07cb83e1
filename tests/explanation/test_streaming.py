"""A whole set in shards: the rows are those of single explanations, in one process or two, killed or not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from protolens.attribution import attribute
from protolens.data import open_data, read_image, to_float
from protolens.errors import ProtolensError
from protolens.explanation import Subject, explain_images, explain_set, streaming
from protolens.train import Run, convert, fit
from tests.conftest import digits_run, torchrun

METHODS = ("lime", "integrated-gradients", "random")
FEW = {"lime": {"samples": 40, "segments": 8}, "integrated-gradients": {"steps": 3}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    return fit(digits_run(train={"device": "cpu"}), tmp_path_factory.mktemp("runs") / "prototypedl")


@pytest.fixture(scope="module")
def centres(trained) -> Run:
    return convert(trained, trained.folder.with_name("kmex"))


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Pictures of all sizes, some in colour, without classes, and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number, shape in enumerate([(8, 8), (20, 30), (31, 9, 3), (40, 40, 3), (12, 8)]):
        Image.fromarray(draw.integers(0, 255, shape, dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def table_of(folder: Path):
    """All rows of all shards, as lists of columns."""
    return pyarrow.parquet.read_table(folder).to_pydict()


def explained(run, folder, data="digits", **words):
    return explain_set(run, data, folder, device="cpu", **words)


def refusal(run, folder, data="digits", **words) -> str:
    with pytest.raises(ProtolensError) as caught:
        explained(run, folder, data, **words)
    return str(caught.value)


@pytest.mark.parametrize("choice", ["trained", "centres"])
@pytest.mark.parametrize("target", [None, "3"])
def test_rows_are_those_that_single_explanations_give(choice, target, request, tmp_path):
    run = request.getfixturevalue(choice)
    done = explained(run, tmp_path, target=target, methods=METHODS, options=FEW, seed=5, shard=50)
    assert (done.shards, done.rows, done.made) == (3, 143, 3)
    table, model = table_of(tmp_path), run.model()
    images = open_data(run.config.data).validation
    assert table["number"] == list(range(143))
    assert table["name"] == list(images.names)
    assert table["label"] == [str(label) for label in images.labels.tolist()]
    for shard in torch.arange(143).split(50):
        for rows in shard.split(streaming.IMAGES_AT_ONCE):
            pixels = to_float(images.take(rows), "cpu")
            subjects = [Subject(images.names[row]) for row in rows.tolist()]
            numbers = []
            for row, expected in zip(
                rows.tolist(), explain_images(model, pixels, subjects, target=target), strict=True
            ):
                reasons = sorted(expected.reasons, key=lambda reason: reason.prototype)
                assert table["predicted"][row] == expected.predicted
                assert table["explained"][row] == expected.explained == (target or expected.predicted)
                assert table["probability"][row] == pytest.approx(expected.probability)
                assert table["similarity"][row] == pytest.approx([reason.similarity for reason in reasons])
                assert table["contributions"][row] == pytest.approx([reason.contribution for reason in reasons])
                assert table["nearest"][row] == expected.nearest
                numbers.append(model.task.classes.index(expected.explained))
                logit = table["logits"][row][numbers[-1]]
                assert logit == pytest.approx(expected.logit)
                assert table["bias"][row] + sum(table["contributions"][row]) == pytest.approx(logit, abs=1e-4)
            for method in METHODS:
                maps = attribute(model, pixels, numbers, method, 5, **FEW.get(method, {}))
                column = table[f"map_{method}".replace("-", "_")]
                assert torch.equal(torch.tensor([column[row] for row in rows.tolist()]), maps.flatten(1))


def test_a_schema_says_how_to_read_the_rows(trained, tmp_path):
    explained(trained, tmp_path, methods=["edges"])
    schema = pyarrow.parquet.read_schema(tmp_path / "00000.parquet")
    kinds = {name: str(schema.field(name).type) for name in schema.names}
    assert kinds["map_edges"] == "fixed_size_list<element: float not null>[64]"
    assert kinds["similarity"] == kinds["contributions"] == "fixed_size_list<element: float not null>[15]"
    assert kinds["logits"] == "fixed_size_list<element: float not null>[10]"
    said = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert (said["height"], said["width"], json.loads(said["classes"])) == ("8", "8", list("0123456789"))
    assert (said["model"], said["images"]) == (trained.facts["model"]["digest"], "0 to 142")


def test_images_that_show_several_classes_are_explained_in_words(several, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "open_data", lambda _: several)
    changes = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "train": {"device": "cpu"}}
    run = fit(digits_run(**changes), tmp_path / "run")
    explained(run, tmp_path / "shards", "pairs")
    table, images = table_of(tmp_path / "shards"), several.validation
    assert table["label"][0] == "none"
    logits = torch.tensor(table["logits"])
    for row in range(len(images)):
        for column, chosen in (("label", images.labels[row] == 1), ("predicted", logits[row] > 0)):
            shown = [str(number) for number in range(10) if chosen[number]]
            assert table[column][row] == (", ".join(shown) or "none")
        k = int(table["explained"][row])
        assert k == int(logits[row].argmax())
        assert table["probability"][row] == pytest.approx(1 / (1 + np.exp(-float(logits[row, k]))))


def test_pictures_without_classes_come_with_the_bands_and_the_size_of_the_model(trained, pictures, tmp_path, capsys):
    done = explained(trained, tmp_path / "shards", f"folder:{pictures}", methods=["edges"])
    assert done.rows == 5
    said = capsys.readouterr().err
    assert "left out: 1 .txt" in said
    assert "resized to 8 x 8 pixels" in said
    table = table_of(tmp_path / "shards")
    assert table["name"] == [f"{number}.png" for number in range(5)]
    assert table["label"] == [None] * 5
    pixels = torch.stack([read_image(pictures / name, 1, (8, 8)) for name in table["name"]])
    logits = trained.model()(to_float(pixels, "cpu"))
    torch.testing.assert_close(torch.tensor(table["logits"]), logits.detach())


def test_a_set_of_other_classes_keeps_its_own_labels_and_all_its_splits_are_explained(trained, pictures, tmp_path):
    root = tmp_path / "album"
    for place in ("train/cat", "train/dog", "test/cat"):
        shutil.copytree(pictures, root / place, ignore=shutil.ignore_patterns("*.txt"))
    explained(trained, tmp_path / "all", f"folder:{root}", shard=4)
    table = table_of(tmp_path / "all")
    assert table["number"] == list(range(15))
    assert table["label"] == ["cat"] * 5 + ["dog"] * 5 + ["cat"] * 5
    assert table["name"][5] == "train/dog/0.png"
    assert len(list((tmp_path / "all").iterdir())) == 5  # of 4, 4, 2 and 4, 1 images
    explained(trained, tmp_path / "test", f"folder:{root}", split="test")
    torch.testing.assert_close(
        *(torch.tensor(x) for x in (table_of(tmp_path / "test")["logits"], table["logits"][10:]))
    )
    refused = refusal(trained, tmp_path / "none", f"folder:{root}", split="validation")
    assert refused.endswith("album brings no split validation; leave --split out to explain all its images")
    assert explained(trained, tmp_path / "one", f"folder:{root / 'test'}").rows == 5  # one class is enough


def test_test_images_of_the_run_are_never_explained(tmp_path):
    root, draw = tmp_path / "album", np.random.default_rng(0)
    for place, count in (("train", 8), ("test", 3)):
        for label in ("cat", "dog"):
            (root / place / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 255, (9, 9), dtype=np.uint8)
                Image.fromarray(pixels).save(root / place / label / f"{number}.png")
    changes = {"data": {"name": f"folder:{root}", "size": 8}, "train": {"device": "cpu"}}
    run = fit(digits_run(**changes), tmp_path / "run")
    sentence = f"these are the test images of {run.folder}, which only evaluate reads; explain its validation or"
    other_way = f"folder:{root / 'train' / '..'}"
    assert sentence in refusal(run, tmp_path / "a", f"folder:{root}", split="test")
    assert sentence in refusal(run, tmp_path / "a", other_way, split="test")
    assert sentence in refusal(run, tmp_path / "a", f"folder:{root / 'test'}")
    assert explained(run, tmp_path / "a", other_way).rows == 2  # of validation
    assert explained(run, tmp_path / "b", f"folder:{root}", split="training").rows == 14
    shutil.copy(root / "test/cat/0.png", root / "test/cat/9.png")
    assert "the test images of" in refusal(run, tmp_path / "c", f"folder:{root}")
    assert not (tmp_path / "c").exists()


def test_what_cannot_be_explained_is_one_sentence(trained, pictures, tmp_path, monkeypatch):
    out = tmp_path / "shards"
    assert refusal(trained, out, methods=["lime", "edgs"]) == "edgs is not a method; did you mean edges?"
    assert refusal(trained, out, target="eleven").startswith("eleven is not a class of this model")
    assert refusal(trained, out, split="trainng") == "trainng is not a split; did you mean training?"
    assert refusal(trained, out, "digts") == "data.name = digts is no known data set; did you mean digits?"
    assert refusal(trained, out, shard=0) == "shard is 0; a shard needs one image at least"
    (tmp_path / "empty").mkdir()
    assert "empty holds no images; put PNG, JPEG" in refusal(trained, out, f"folder:{tmp_path / 'empty'}")
    assert "nowhere does not exist" in refusal(trained, out, "folder:nowhere")
    refused = refusal(trained, out, methods=["lime"], options={"lime": {"segments": torch.zeros(1)}})
    assert refused.startswith("options of methods have to be numbers and words here")
    (pictures / "9.png").write_text("no picture")
    assert "9.png cannot be read" in refusal(trained, out, f"folder:{pictures}")
    assert "--skip-unreadable leaves such files out" in refusal(trained, out, f"folder:{pictures}")
    assert explained(trained, tmp_path / "five", f"folder:{pictures}", skip_unreadable=True).rows == 5
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(trained, out).endswith("needs the extra: pip install 'protolens[batch]'")
    assert not out.exists()


def test_whole_shards_stay_and_damaged_or_other_ones_are_made_anew(trained, tmp_path):
    words = {"methods": ["random"], "shard": 40}
    explained(trained, tmp_path, **words)
    paths = sorted(tmp_path.iterdir())
    content = [path.read_bytes() for path in paths]
    paths[1].write_bytes(content[1][:-100])
    paths[3].unlink()
    (tmp_path / ".00003.parquet.7.part").write_bytes(content[3][:100])
    times = [path.stat().st_mtime_ns for path in (paths[0], paths[2])]
    assert explained(trained, tmp_path, **words).made == 2
    assert sorted(tmp_path.iterdir()) == paths
    assert [path.read_bytes() for path in paths] == content
    assert [path.stat().st_mtime_ns for path in (paths[0], paths[2])] == times
    for change in ({"seed": 1}, {"target": "3"}, {"methods": ["random", "edges"]}, {"split": "training", "shard": 400}):
        assert explained(trained, tmp_path, **words | change).made == 4
        assert all(path.read_bytes() != old for path, old in zip(paths, content, strict=True))
    refused = refusal(trained, tmp_path)
    assert refused == f"{paths[1]} is no shard of this set; remove it, or choose another --out"


def test_a_picture_that_changed_or_was_renamed_makes_its_shard_anew(trained, pictures, tmp_path):
    out, words = tmp_path / "shards", {"data": f"folder:{pictures}", "shard": 2}
    assert explained(trained, out, **words).made == 3
    (pictures / "4.png").rename(pictures / "5.png")
    assert explained(trained, out, **words).made == 1
    shutil.copy(pictures / "0.png", pictures / "1.png")
    assert explained(trained, out, **words).made == 1
    assert explained(trained, out, **words).made == 0


WORK = """
import json, sys
from protolens.explanation import explain_set
run, folder, words = sys.argv[1:4]
explain_set(run, "digits", folder, device="cpu", **json.loads(words))
"""


@pytest.mark.parametrize("shard", [30, 1000])
def test_two_processes_write_the_files_of_one(trained, tmp_path, shard):
    """Also where one of them has no shard at all."""
    words = {"methods": METHODS, "options": FEW, "shard": shard}
    torchrun(tmp_path / "work.py", WORK, [str(trained.folder), str(tmp_path / "two"), json.dumps(words)], processes=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    explained(trained, tmp_path / "one", **words)
    torch.set_num_threads(threads)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / way).iterdir()} for way in ("one", "two"))
    assert one == two


KILLED = """
import os, signal, sys
import torch
from protolens import shards

torch.set_num_threads(int(sys.argv[4]))
written, write = [], shards.write_bytes
def write_or_die(path, content):
    if len(written) == 2:
        path.with_name(f".{path.name}.1.part").write_bytes(content[:1000])
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    write(path, content)
shards.write_bytes = write_or_die
"""


def test_a_killed_job_goes_on_with_the_shards_that_are_there(trained, tmp_path):
    """It kills itself in the midst of the third shard."""
    words = {"methods": ["edges"], "shard": 30}
    asked = [str(trained.folder), str(tmp_path / "run"), json.dumps(words), str(torch.get_num_threads())]
    assert subprocess.run([sys.executable, "-c", KILLED + WORK, *asked], check=False).returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("*.parquet")}
    assert len(done) == 2
    assert explained(trained, tmp_path / "run", **words).made == 3
    assert {path: path.stat().st_mtime_ns for path in done} == done
    explained(trained, tmp_path / "whole", **words)
    assert table_of(tmp_path / "run") == table_of(tmp_path / "whole")
    assert len(list((tmp_path / "run").iterdir())) == 5


def test_a_job_that_is_asked_to_stop_goes_on_later(trained, tmp_path, monkeypatch):
    write, written = streaming.write_columns, []

    def write_and_ask(shard, *rest):
        write(shard, *rest)
        written.append(shard.path.name)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(streaming, "write_columns", write_and_ask)
    assert "stopped while images were explained; the same" in refusal(trained, tmp_path, shard=30)
    assert explained(trained, tmp_path, shard=30).made == 3
    assert written == [f"{number:05d}.parquet" for number in range(5)]
