"""The verb `compare` on real runs: kinds, black boxes, verdicts, and what it refuses."""

import csv
import json
import shutil

import pytest
import torch

from protolens.cli import main
from protolens.errors import ProtolensError
from protolens.evaluation import compare, evaluate, to_csv, uncertainty
from protolens.evaluation.answers import FILE, read_answers
from protolens.evaluation.comparing import difference_of, name_of, sentence
from protolens.evaluation.scores import Difference
from protolens.report import write_compared
from protolens.terminal import show_comparison
from protolens.train import Run, convert, fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """Two black boxes of one kind, what one is converted to, and a model that has hardly learnt."""
    folder = tmp_path_factory.mktemp("runs")
    box = {"model": {"name": "blackbox"}, "stages": {"train": {"epochs": 6}}}
    made = {f"box-{seed}": fit(digits_run(seed=seed, **box), folder / f"box-{seed}") for seed in (0, 1)}
    made["box-0-kmex"] = convert(made["box-0"], folder / "box-0-kmex")
    made["poor-0"] = fit(digits_run(stages={"train": {"epochs": 1}}), folder / "poor-0")
    for run in made.values():
        evaluate(run)
    return made


def test_runs_that_differ_by_their_seed_are_of_one_kind_and_have_a_mean_and_a_spread(runs):
    found = compare([run.folder for run in runs.values()])
    assert [kind["name"] for kind in found["kinds"]] == ["box", "box-0-kmex", "poor-0"]
    box = found["kinds"][0]
    assert box["seeds"] == [0, 1]
    values = [evaluate(runs[f"box-{seed}"]).accuracy for seed in (0, 1)]
    accuracy = box["figures"]["accuracy"]
    assert accuracy["values"] == values
    assert accuracy["mean"] == pytest.approx(sum(values) / 2)
    assert accuracy["spread"] == pytest.approx(torch.tensor(values).std().item(), abs=1e-6)
    assert -1 <= box["figures"]["trust.matched_correlation"]["mean"] <= 1
    json.dumps(found, allow_nan=False)


def test_trust_is_in_the_network_inside_or_in_the_black_box_of_the_same_seed(runs):
    _, kmex, poor = compare(list(runs.values()))["kinds"]
    content = evaluate(runs["box-0-kmex"]).content
    assert kmex["figures"]["trust.agreement"]["mean"] == pytest.approx(content["interpretation"]["fidelity"])
    said = {name: read_answers(runs[name])["logits"].argmax(dim=1) for name in ("box-0", "poor-0")}
    share = float((said["box-0"] == said["poor-0"]).double().mean())
    assert poor["figures"]["trust.agreement"]["mean"] == pytest.approx(share)
    gap = evaluate(runs["box-0"]).accuracy - evaluate(runs["poor-0"]).accuracy
    assert poor["figures"]["trust.accuracy_gap"]["mean"] == pytest.approx(gap)
    # as published a softmax over prototypes says little; one temperature brings it near
    own = {name: figure["mean"] for name, figure in kmex["figures"].items() if name.startswith("trust.")}
    assert own["trust.calibrated_divergence"] <= own["trust.divergence"] + 0.01 < own["trust.divergence_as_published"]


def test_every_two_kinds_have_a_verdict(runs):
    found = compare(list(runs.values()))
    pairs = {(pair["better"], pair["worse"]): pair for pair in found["pairs"]}
    assert len(pairs) == 3
    verdict = pairs["box", "poor-0"]
    assert verdict["told_apart"]
    assert verdict["sentence"].startswith("box is more accurate than poor-0: +")
    for pair in pairs.values():
        assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
        assert pair["chance"] <= pair["adjusted_chance"] <= 1


def test_single_runs_are_told_apart_by_the_images_that_only_one_gets_right():
    first, second = torch.ones(1, 40, dtype=torch.bool), torch.ones(1, 40, dtype=torch.bool)
    second[0, :8] = False
    assert difference_of(first, second).chance == pytest.approx(2 * 0.5**8)
    assert difference_of(first, first).chance == 1


def test_a_verdict_is_a_plain_sentence():
    surely = Difference(0.004, 0.001, 0.007, 0.001)
    assert sentence("A", "B", surely, True) == "A is more accurate than B: +0.4 points, 95 % interval 0.1 to 0.7."
    barely = sentence("A", "B", Difference(0.002, 0.0001, 0.004, 0.04), True)
    assert barely == "A is more accurate than B: +0.20 points, 95 % interval 0.01 to 0.40."
    hardly = Difference(0.001, -0.0021, 0.004, 0.5)
    said = "A and B cannot be told apart: +0.1 points, 95 % interval −0.2 to 0.4."
    assert sentence("A", "B", hardly, False) == said
    alone = "A and B cannot be told apart among 3 pairs: +0.4 points, 95 % interval 0.1 to 0.7 for this pair alone."
    assert sentence("A", "B", surely, False, 3) == alone
    assert sentence("A", "B", hardly, False, 3) == said
    assert "interval 0.0 to" in sentence("A", "B", Difference(0.001, -0.0001, 0.004, 0.5), False)


def test_the_csv_has_a_line_a_figure_of_each_run(runs):
    lines = list(csv.DictReader(to_csv(compare(list(runs.values()))).splitlines()))
    accuracies = [line for line in lines if line["figure"] == "accuracy"]
    assert [line["run"].rpartition("/")[2] for line in accuracies] == ["box-0", "box-1", "box-0-kmex", "poor-0"]
    assert float(accuracies[0]["value"]) == evaluate(runs["box-0"]).accuracy


def test_the_command_writes_json_and_csv_and_says_who_is_better(runs, tmp_path, capsys):
    words = ["compare", *(str(run.folder) for run in runs.values()), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "box is more accurate than poor-0" in said
    assert (tmp_path / "out" / "comparison.csv").exists()
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("page") == str(tmp_path / "out" / "comparison.html")
    assert told == json.loads((tmp_path / "out" / "comparison.json").read_text())


def test_what_a_model_does_not_know_is_compared_where_it_was_measured_of_this_model(runs, tmp_path):
    box, poor = runs["box-0"], runs["poor-0"]
    found = {name: uncertainty(runs[name], ["digits"]) for name in ("box-0", "poor-0")}
    kinds = compare([box, poor])["kinds"]
    for kind, name in zip(kinds, found, strict=True):
        own = {figure: values["mean"] for figure, values in kind["figures"].items()}
        assert own["uncertainty.refused"] == found[name]["refusal"]["cautious"]["refused"]
        assert own["uncertainty.accuracy"] == found[name]["refusal"]["cautious"]["accuracy"]
        for other in ("noise", "digits"):
            expected = found[name]["others"][other]["refusal"]["cautious"]["refused"]
            assert own[f"uncertainty.refused_of.{other}"] == expected
        assert own["calibration_error"] == pytest.approx(found[name]["forced"]["calibration_error"], abs=1e-6)
    page = write_compared(compare([box, poor]), tmp_path).read_text(encoding="utf-8")
    assert "Does it know when it does not know?" in page
    assert "refuses of digits" in page
    path = poor.folder / "uncertainty.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "another"}))
    assert "uncertainty.refused" not in compare([box, poor])["kinds"][1]["figures"]
    for run in (box, poor):
        (run.folder / "uncertainty.json").unlink()


def test_names_of_folders_lose_the_seed_and_nothing_else(runs):
    assert name_of(runs["box-1"]) == "box"
    assert name_of(runs["box-0-kmex"]) == "box-kmex"


def test_what_cannot_be_compared_is_said_in_a_sentence(runs, tmp_path):
    with pytest.raises(ProtolensError, match="compare needs two runs or more, each named once"):
        compare([runs["box-0"], runs["box-0"].folder])
    copy = tmp_path / "copy"
    shutil.copytree(runs["poor-0"].folder, copy)
    (copy / FILE).write_bytes(b"nothing")
    with pytest.raises(ProtolensError, match="is damaged .*; call `protolens evaluate .* --again`"):
        compare([runs["box-0"], copy])
    (copy / FILE).unlink()
    with pytest.raises(ProtolensError, match="was not evaluated; call `protolens evaluate .* --again`"):
        compare([runs["box-0"], copy])
    other = fit(digits_run(data={"split_seed": 1}, stages={"train": {"epochs": 1}}), tmp_path / "other")
    evaluate(other)
    with pytest.raises(ProtolensError, match="was evaluated on other test images than"):
        compare([runs["box-0"], other])


def test_names_that_begin_alike_are_told_apart_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    names = ["digits-prototypedl", "digits-prototypedl-kmex"]
    kinds = [{"name": name, "runs": ["a"], "figures": {"accuracy": {"mean": 0.9, "spread": None}}} for name in names]
    show_comparison({"data": "digits", "images": 359, "kinds": kinds, "pairs": []})
    said = "".join(line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line)
    assert said == "".join(names)
