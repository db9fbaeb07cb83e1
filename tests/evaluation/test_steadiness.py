"""The verb `evaluate --robustness` on real runs, and what `compare` makes of it."""

import json

import pytest
import torch

from protolens.cli import main
from protolens.data import open_data, to_float
from protolens.errors import ProtolensError
from protolens.evaluation import compare, evaluate, robustness
from protolens.evaluation.damaged import damaged, replaced
from protolens.evaluation.drops import Damage, drops_of, names_of
from protolens.evaluation.resampling import RESAMPLES, clustered, codes_of, found_again, seconds_of_finding
from protolens.evaluation.sampling import drawn
from protolens.evaluation.shaking import NOISES
from protolens.evaluation.steadiness import figures_of_robustness, summary_of_drops, verdict
from protolens.models import state_digest
from protolens.train import Run, convert, fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def black(tmp_path_factory) -> Run:
    config = digits_run(model={"name": "blackbox"}, stages={"train": {"epochs": 6}})
    return fit(config, tmp_path_factory.mktemp("robust") / "black")


@pytest.fixture(scope="module")
def converted(black) -> Run:
    return convert(black, black.folder.parent / "kmex", {"model": {"per_class": 2}})


def test_figures_are_those_of_the_images_that_were_drawn_and_nothing_changes(converted):
    files = [converted.folder / name for name in ("model.safetensors", "prototypes.json", "run.json")]
    before, state = [path.read_bytes() for path in files], torch.get_rng_state()
    found = robustness(converted, images=60, seed=2)
    assert [path.read_bytes() for path in files] == before
    assert torch.equal(torch.get_rng_state(), state)
    assert json.loads((converted.folder / "robustness.json").read_text()) == found
    data, model = open_data(converted.config.data), converted.model()
    assert found["model"] == state_digest(model)
    rows = drawn(len(data.test), 60, 2)
    images = to_float(data.test.take(rows), "cpu")
    own = drops_of(model, images, data.test.labels[rows], ["prp", "random"], Damage.drawn(data.test.shape, 2))
    for kind in ("prp", "random"):
        told = found["prototypes"]["maps"][kind]["noise"]["average_drop"]["remove_top"]
        assert told["mean"] == pytest.approx(float(own[f"{kind} noise average_drop remove_top"].nanmean()), abs=1e-4)
        assert told["interval"][0] <= told["mean"] <= told["interval"][1]
    apart = found["prototypes"]["beyond"]["prp"]["random"]["noise"]["average_drop"]["remove_top"]["mean"]
    names = (f"{kind} noise average_drop remove_top" for kind in ("prp", "random"))
    first, second = (float(own[name].mean()) for name in names)
    assert apart == pytest.approx(first - second, abs=1e-4)
    took = {"seconds": 0, "forecast": 0}
    assert robustness(converted, images=60, seed=2) | took == found | took


def test_prototypes_of_kmex_are_found_again_and_nearer_than_chance(converted, black):
    found = robustness(converted, images=20)["prototypes_again"]
    assert found["codes"] == found["of"] == len(open_data(converted.config.data).training)
    assert found["resamples"] == RESAMPLES
    for way in ("start", "sample", "both"):
        assert found[way]["distance"]["mean"] < found["random"]["distance"]["mean"]
        assert found[way]["correlation"]["mean"] > found["random"]["correlation"]["mean"]
    # all codes are clustered: the run's own prototypes have come to rest
    assert found["run"]["distance"]["mean"] == pytest.approx(0, abs=0.05)
    assert found["run"]["distance"]["interval"] is None
    other = robustness(black, images=20)
    why = "prototypes of blackbox come from training; `protolens compare` matches those of runs of other seeds"
    assert other["prototypes_again"] == {"left_out": {"prototypes found again": why}}
    assert other["noise"]["left_out"] == {"margin": "blackbox measures no distance to its prototypes"}
    assert other["noise"]["none"]["early_failure"] == {"mean": None, "interval": None}


def test_who_decides_by_the_nearest_prototype_never_fails_early(converted):
    found = robustness(converted, images=100)["noise"]
    for noise in ("none", "uniform", "gaussian"):
        assert found[noise]["early_failure"]["mean"] == 0
    assert found["uniform"]["decision_stays"]["mean"] >= found["gaussian"]["decision_stays"]["mean"] - 0.05
    assert found["uniform"]["contributions"]["mean"] is None  # one prototype alone adds to a class
    assert (
        found["uniform"]["maps"]["self"]["correlation"]["mean"]
        > found["uniform"]["maps"]["random"]["correlation"]["mean"]
    )


def test_a_verdict_needs_an_interval_on_one_side_of_zero():
    assert verdict([0.1, 0.3], 1) is True
    assert verdict([0.1, 0.3], -1) is False
    assert verdict([-0.3, -0.1], -1) is True
    assert verdict([-0.1, 0.3], 1) is None
    assert verdict(None, 1) is None


def test_images_whose_classes_have_no_prototypes_leave_no_figure():
    names = ("noise", "inpaint")
    found = {
        f"{kind} {filling} {measure} {convention}": torch.full((3,), torch.nan)
        for kind in ("prp", "random", "edges")
        for filling in names
        for measure in ("average_drop", "average_increase")
        for convention in ("remove_top", "keep_top")
    }
    found |= {"pairs": torch.zeros(3), "positive": torch.zeros(3)}
    told = summary_of_drops(found, ("prp", "random", "edges"))
    assert told["positive"] is None
    assert told["maps"]["prp"]["noise"]["average_drop"]["remove_top"] == {"mean": None, "interval": None}
    assert told["beyond"]["prp"]["edges"]["inpaint"]["average_drop"]["keep_top"]["better"] is None


def test_compare_shows_figures_of_the_same_model_alone(converted, black):
    for run in (converted, black):
        evaluate(run)
        robustness(run, images=20)
    told = compare([converted, black])["kinds"]
    names = "trust.prototypes.maps.prp.inpaint.average_drop.remove_top", "trust.noise.gaussian.decision_stays"
    for kind, run in zip(told, (converted, black), strict=True):
        content = json.loads((run.folder / "robustness.json").read_text())
        drop = content["prototypes"]["maps"]["prp"]["inpaint"]["average_drop"]["remove_top"]["mean"]
        stays = content["noise"]["gaussian"]["decision_stays"]["mean"]
        assert [kind["figures"][name]["mean"] for name in names] == [drop, stays]
    assert "trust.prototypes_again.both.distance" in told[0]["figures"]
    assert "trust.prototypes_again.both.distance" not in told[1]["figures"]
    file = converted.folder / "robustness.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": "another"}))
    (black.folder / "robustness.json").unlink()
    assert figures_of_robustness(converted) == figures_of_robustness(black) == {}


def test_the_command_says_what_holds(converted, capsys):
    words = ["evaluate", str(converted.folder), "--robustness", "--images", "20"]
    assert main(words) == 0
    said = capsys.readouterr().out
    for word in ("drop, first gone", "decision stays", "codes by chance", "without self: prototypes of kmex stand"):
        assert word in said
    page = converted.folder / "robustness.html"
    assert str(page) in said
    text = page.read_text(encoding="utf-8")
    assert "PRP tells where its prototypes are" in text
    assert text.count("<img") == 1 + 3 * 4 + 3
    page.unlink()
    assert main([*words, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["images"], content["page"]) == (20, str(page))
    assert page.exists()
    assert main([*words[:-1], "1"]) == 1
    assert "1 images are too few: an interval needs 2 or more" in capsys.readouterr().err


def test_a_budget_buys_images_and_says_how_well_figures_are_known(converted, capsys, monkeypatch):
    monkeypatch.setattr("protolens.evaluation.steadiness.line_of", lambda work, most: (0.0, 0.5))
    monkeypatch.setattr("protolens.evaluation.steadiness.seconds_of_finding", lambda *_: 20.0)
    words = ["evaluate", str(converted.folder), "--robustness", "--images", "200", "--seed", "3", "--budget"]
    assert main([*words, "100s", "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    # a second an image, 20 s once, and a little of the budget for reading
    assert 30 <= found["images"] <= 70
    parts = {"replaced pixels": found["images"] / 2, "noise": found["images"] / 2, "prototypes found again": 20}
    assert found["forecast"]["parts"] == parts
    assert (found["forecast"]["images"], found["forecast"]["wanted"]) == (found["images"], 200)
    assert "of 200 images (all would take about 3 min 40 s)" in told.err
    drops = [
        one["interval"][1] - one["interval"][0]
        for fillings in found["prototypes"]["maps"].values()
        for measures in fillings.values()
        for one in measures["average_drop"].values()
    ]
    stays = [high - low for n in NOISES for low, high in [found["noise"][n]["decision_stays"]["interval"]]]
    known = f"average drops are known to ±{50 * max(drops):.1f} points"
    assert found["bought"] == (
        f"within 1 min 40 s: {found['images']} of 200 images; {known}, decisions that stay to ±{50 * max(stays):.1f} "
        "points"
    )
    rows = drawn(len(open_data(converted.config.data).test), found["images"], 3)
    assert len(rows) == found["images"]
    assert main([*words, "10s"]) == 1
    assert "reaches for 0 images, and fewer than 30 say too little; 30 take about" in capsys.readouterr().err


def test_clustering_again_is_foretold_by_a_clock_that_counts_the_work(converted, monkeypatch):
    data, model = open_data(converted.config.data), converted.model()
    now = [0.0]

    def codes(model, images, most, seed):
        found = codes_of(model, images, most, seed)
        now[0] += 0.001 * len(found.vectors)
        return found

    def clustering(codes, *given, **named):
        now[0] += 0.0005 * len(codes.vectors)
        return clustered(codes, *given, **named)

    monkeypatch.setattr("protolens.evaluation.resampling.codes_of", codes)
    monkeypatch.setattr("protolens.evaluation.resampling.clustered", clustering)
    told = seconds_of_finding(model, data, 0, lambda: now[0])
    now[0] = 0.0
    found_again(model, data, 0)
    # where prototypes come to rest is foretold with each round, and done once
    once = 0.0005 * len(data.training)
    assert told == pytest.approx(now[0] + (RESAMPLES - 1) * once)


def test_pairs_of_digits_have_prototypes_of_all_their_classes(several, tmp_path, monkeypatch):
    monkeypatch.setattr("protolens.evaluation.steadiness.open_data", lambda _: several)
    box = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "stages": {"train": {"epochs": 1}}}
    found = robustness(fit(digits_run(**box), tmp_path / "run"), images=40)
    assert found["prototypes"]["pairs"] > 40
    assert 0 <= found["noise"]["uniform"]["decision_stays"]["mean"] <= 1


def test_pictures_are_of_the_first_image_that_has_a_prototype(converted):
    model, test = converted.model(), open_data(converted.config.data).test
    damage = Damage.drawn(test.shape, 0)
    model.keep((model.class_of() != test.labels[0]).nonzero().flatten())
    found = damaged(model, test, ("prp", "random"), damage, 0, None)
    row = int((test.labels != test.labels[0]).nonzero()[0])
    assert found["image"] == test.names[row]
    assert model.class_of()[found["prototype"]] == test.labels[row]
    image = to_float(test.take(torch.tensor([row])), "cpu")
    chosen = torch.tensor([[found["prototype"]]])
    own = replaced(model, image, chosen, ("prp", "random"), damage)
    for kind in ("prp", "random"):
        halves = [own[f"{kind} noise {end}"] for end in ("remove_top", "keep_top")]
        kept = [(half == image[0]).all(dim=0) for half in halves]
        # each pixel stays in one of the halves, where noise is not by chance what was there
        assert bool((kept[0] | kept[1]).all())
        assert int(kept[0].sum()) == pytest.approx(kept[0].numel() / 2, abs=1)
    names = {f"{k} {f} {c}" for k, f, _, c in names_of(("prp", "random"))} | {"plain", *NOISES}
    assert set(found["pictures"]) == names
    model.keep(torch.tensor([0]))
    other = test.subset("test", (test.labels != int(model.class_of()[0])).nonzero().flatten())
    nothing = damaged(model, other, ("prp", "random"), damage, 0, None)
    assert (nothing["prototype"], set(nothing["pictures"])) == (None, {"plain", *NOISES})


def test_one_image_is_too_few(converted):
    with pytest.raises(ProtolensError, match="1 images are too few"):
        robustness(converted, images=1)
