"""Codes in memory and in shards give the same centres, in one process or two, killed or not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from protolens.cli import main
from protolens.errors import ProtolensError
from protolens.models import state_digest
from protolens.shards import ROWS_AT_ONCE, Shard, is_whole
from protolens.train import Run, convert, embedding, fit
from protolens.train.embedding import Block, read_shard, write_shard
from tests.conftest import digits_run, torchrun

CPU = torch.device("cpu")


def in_shards(size: int) -> dict[str, object]:
    """Changes to a conversion: all codes go to files of so many images, which stay."""
    step = {"memory": 0.0, "shard": float(size)}
    return {"stages": {"cluster": {"then": {"cluster": step}}}, "train": {"keep_codes": True, "device": "cpu"}}


def digest(folder: Path) -> str:
    return state_digest(Run.open(folder).model())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "blackbox"
    return fit(digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 3}}, train={"device": "cpu"}), folder)


@pytest.fixture
def shard(tmp_path) -> Shard:
    return Shard(tmp_path / "00000.parquet", torch.arange(3), {"model": "a", "data": "b"})


def some_codes(count: int) -> Block:
    generator = torch.Generator().manual_seed(0)
    return Block(torch.arange(count) + 7, torch.randn(count, 5, generator=generator), torch.arange(count) % 3)


@pytest.mark.parametrize("count", [1, 30_000])
def test_a_shard_holds_what_was_written_and_is_read_in_pieces(shard, count):
    codes = some_codes(count)
    write_shard(shard, codes)
    pieces = list(read_shard(shard, CPU))
    assert max(len(piece.number) for piece in pieces) <= ROWS_AT_ONCE
    for name, column in vars(codes).items():
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), column)
    schema = pyarrow.parquet.read_schema(shard.path)
    kinds = [str(schema.field(name).type) for name in schema.names]
    assert kinds == ["int64", "int64", "fixed_size_list<element: float not null>[5]"]
    assert is_whole(shard)


def test_a_shard_of_another_model_or_other_images_is_not_taken(shard):
    write_shard(shard, some_codes(3))
    for change in ({"model": "x"}, {"data": "x"}, {"images": "0 to 9"}):
        other = Shard(shard.path, shard.images, shard.made_from | change)
        assert not is_whole(other)
        with pytest.raises(ProtolensError, match=r"00000\.parquet was made from something else; --resume makes it"):
            list(read_shard(other, CPU))


@pytest.mark.parametrize("place", ["numbers", "codes", "footer", "end"])
def test_a_damaged_shard_is_noticed_wherever_the_damage_is(shard, place):
    write_shard(shard, some_codes(2000))
    content = bytearray(shard.path.read_bytes())
    if place == "end":
        content = content[: len(content) // 2]
    else:
        position = {"numbers": 200, "codes": len(content) // 2, "footer": len(content) - 6}[place]
        content[position] ^= 0xFF
    shard.path.write_bytes(content)
    assert not is_whole(shard)
    with pytest.raises(ProtolensError, match=r"00000\.parquet is damaged \(.*\); --resume makes it anew"):
        list(read_shard(shard, CPU))


def test_centres_from_shards_are_those_from_memory_and_codes_are_deleted_unless_wanted(trained, tmp_path):
    convert(trained, tmp_path / "memory", {"train": {"device": "cpu"}})
    convert(trained, tmp_path / "shards", in_shards(1000))
    assert digest(tmp_path / "memory") == digest(tmp_path / "shards")
    assert [path.name for path in sorted((tmp_path / "shards" / "codes").iterdir())] == [
        "00000.parquet",
        "00001.parquet",
    ]
    assert main(["convert", str(trained.folder), "--out", str(tmp_path / "cli"), "--device", "cpu", "--json",
                 "--stages.cluster.then.cluster.memory", "0"]) == 0  # fmt: skip
    assert digest(tmp_path / "cli") == digest(tmp_path / "memory")
    assert not (tmp_path / "cli" / "codes").exists()


KILLED = """
import json, os, signal, sys
import torch
from protolens import shards
from protolens.train import convert

written, write = [], shards.write_bytes
def write_or_die(path, content):
    if len(written) == 5:
        path.with_name(f".{path.name}.1.part").write_bytes(content[:1000])
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    write(path, content)
shards.write_bytes = write_or_die
trained, folder, changes, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
convert(trained, folder, json.loads(changes))
"""


def test_a_killed_conversion_goes_on_with_its_shards_to_the_same_bits(trained, tmp_path):
    """It kills itself in the midst of the sixth shard."""
    words = [str(trained.folder), str(tmp_path / "run"), json.dumps(in_shards(100)), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    assert killed.returncode == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "codes").glob("*.parquet")}
    assert len(done) == 5
    assert not (tmp_path / "run" / "run.json").exists()
    changes = ["--stages.cluster.then.cluster.memory", "0", "--stages.cluster.then.cluster.shard", "100"]
    changes += ["--train.keep_codes", "true", "--device", "cpu", "--out", str(tmp_path / "run"), "--resume"]
    assert main(["convert", str(trained.folder), *changes]) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    undisturbed = convert(trained, tmp_path / "undisturbed", in_shards(100))
    assert digest(tmp_path / "run") == digest(undisturbed.folder)
    assert Run.open(tmp_path / "run").facts["followed"] == undisturbed.facts["followed"]
    assert main(["convert", str(trained.folder), *changes]) == 0  # a finished one stays as it is
    assert digest(tmp_path / "run") == digest(undisturbed.folder)


def test_shards_of_another_model_and_damaged_ones_are_made_anew(trained, tmp_path):
    convert(trained, tmp_path / "expected", in_shards(200))
    convert(trained, tmp_path / "run", in_shards(200) | {"seed": 5})
    codes, expected = tmp_path / "run" / "codes", tmp_path / "expected" / "codes"
    other = {path.name: path.read_bytes() for path in codes.glob("*.parquet")}
    for path in sorted(expected.glob("*.parquet"))[1:4]:
        (codes / path.name).write_bytes(path.read_bytes())
    damaged = codes / "00003.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    taken = {codes / name: (codes / name).stat().st_mtime_ns for name in ("00001.parquet", "00002.parquet")}
    for name in ("last.pt", "model.safetensors", "run.json"):
        (tmp_path / "run" / name).unlink()
    convert(trained, tmp_path / "run", in_shards(200), resume=True)
    assert digest(tmp_path / "run") == digest(tmp_path / "expected")
    assert {path: path.stat().st_mtime_ns for path in taken} == taken
    for name, content in other.items():
        assert (codes / name).read_bytes() == (expected / name).read_bytes() != content


def test_a_conversion_that_is_asked_to_stop_goes_on(trained, tmp_path, monkeypatch):
    write, written = embedding.write_shard, []

    def write_and_ask(shard, block):
        write(shard, block)
        written.append(shard.path.name)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(embedding, "write_shard", write_and_ask)
    with pytest.raises(ProtolensError, match="stopped while codes were made; the same command with --resume goes on"):
        convert(trained, tmp_path / "run", in_shards(300))
    convert(trained, tmp_path / "run", in_shards(300), resume=True)
    assert written == [f"{number:05d}.parquet" for number in range(5)]


def test_without_pyarrow_and_with_shards_of_nothing_it_is_one_sentence(trained, tmp_path, monkeypatch):
    with pytest.raises(ProtolensError, match=r"cluster\.shard is 0; a shard needs one image at least"):
        convert(trained, tmp_path / "run", in_shards(0))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ProtolensError, match=r"cluster\.memory allows.* extra: pip install 'protolens\[batch\]'"):
        convert(trained, tmp_path / "run", in_shards(100))
    assert convert(trained, tmp_path / "run", {"train": {"device": "cpu"}}).facts["followed"][0]["centres"] == 50


SCRIPT = """
import json, os, sys
from pathlib import Path
from protolens.train import clustering, convert

kmeans = clustering.kmeans
def remember(*arguments, **options):
    found = kmeans(*arguments, **options)
    content = [found.centres.tolist(), found.counts.tolist(), found.inertia]
    Path(f"{out}-rank{os.environ['RANK']}.json").write_text(json.dumps(content))
    return found
clustering.kmeans = remember
trained, out, changes = sys.argv[1:]
convert(trained, out, json.loads(changes))
"""


@pytest.mark.parametrize("changes", [in_shards(100), {"train": {"device": "cpu"}}, in_shards(5000)])
def test_two_processes_convert_to_the_centres_of_one(trained, tmp_path, changes):
    """From shards, from memory, and where one of the processes has no shard at all."""
    words = [str(trained.folder), str(tmp_path / "two"), json.dumps(changes)]
    torchrun(tmp_path / "script.py", SCRIPT, words, processes=2)
    first, second = (json.loads((tmp_path / f"two-rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    one = convert(trained, tmp_path / "one", changes)
    two = Run.open(tmp_path / "two")
    assert two.facts["followed"][0]["vectors"] == sum(first[1]) == one.facts["followed"][0]["vectors"]
    assert first[2] == pytest.approx(one.facts["followed"][0]["inertia"], rel=1e-6)
    vectors = two.model().prototypes.vectors.detach()
    assert vectors.tolist() == first[0]
    torch.testing.assert_close(vectors, one.model().prototypes.vectors.detach(), rtol=1e-5, atol=1e-5)
