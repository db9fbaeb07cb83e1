"""What the bench says of edits is what the edited model says of the images, for every model and any list of edits."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protolens.data import DataSet, MemoryImages, open_data
from protolens.editing import Edit, Forbid, Move, SwitchOff, Workbench, edited_model
from protolens.editing import workbench as bench_module
from protolens.editing.applying import plan_of, reasons_not_to
from protolens.editing.workbench import look
from protolens.errors import ProtolensError
from protolens.models import PrototypeModel, state_digest
from protolens.train import Run, fit, predict
from protolens.train.team import Team
from tests.conftest import digits_run
from tests.models.test_contract import CHOICES, can_lose_prototypes, name_of, with_weights

CLASSES = [f"class {k}" for k in range(4)]
CPU = Team(torch.device("cpu"))


def images(name: str, count: int) -> MemoryImages:
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(256, (count, 3, 28, 28), generator=generator, dtype=torch.uint8)
    return MemoryImages(name, pixels, torch.arange(count) % 4, [f"image {i}" for i in range(count)])


VALIDATION = images("validation", 30)


@pytest.fixture(scope="module", params=CHOICES, ids=name_of)
def bench(request) -> Workbench:
    """A model as it is built, with validation images of noise; no run is needed to look at those."""
    model = with_weights(request.param)
    splits = (images("training", 12), VALIDATION, images("test", 1))
    data = DataSet("noise", model.task, *splits, leaks=(), notes=())
    seen, base = look(model, VALIDATION)
    return Workbench(None, model, data, reasons_not_to(model), base, seen)


@st.composite
def edit_lists(draw: st.DrawFn, model: PrototypeModel) -> list[Edit]:
    """Edits that can be done one after the other: what is off does not move afterwards, and one prototype stays."""
    class_of, off, edits = model.class_of().tolist(), set(), []
    numbers = st.lists(st.integers(0, len(class_of) - 1), max_size=12 if can_lose_prototypes(model) else 0)
    for number in draw(numbers):
        last = len(off | {number}) == len(class_of)
        if number in off or (not last and draw(st.booleans())):
            edits.append(SwitchOff(number))
            off.add(number)
        else:
            class_of[number] = draw(st.sampled_from([k for k in range(4) if k != class_of[number]]))
            edits.append(Move(number, CLASSES[class_of[number]]))
    side = st.tuples(st.integers(0, 27), st.integers(1, 28)).filter(lambda ends: ends[0] < ends[1])
    for (left, right), (top, bottom) in draw(st.lists(st.tuples(side, side), max_size=2)):
        edits.insert(draw(st.integers(0, len(edits))), Forbid((left, top, right, bottom)))
    return edits


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_bench_says_what_the_edited_model_says(bench, data):
    edits = data.draw(edit_lists(bench.model))
    before = state_digest(bench.model)
    found = bench.logits(plan_of(bench.model, edits))
    expected = predict(edited_model(bench.model, edits, bench.fill()), VALIDATION, CPU)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    best = expected.topk(2, dim=1).values
    sure = best[:, 0] - best[:, 1] > 1e-3
    assert torch.equal(found.argmax(dim=1)[sure], expected.argmax(dim=1)[sure])
    assert state_digest(bench.model) == before


def test_without_edits_it_says_what_the_model_says(bench):
    torch.testing.assert_close(bench.base, predict(bench.model, VALIDATION, CPU), atol=1e-4, rtol=1e-4)
    assert torch.equal(bench.logits(plan_of(bench.model, [])), bench.base)


def test_what_is_too_much_to_keep_is_looked_at_again(bench, monkeypatch):
    edits = [Forbid((0, 0, 9, 9)), *([SwitchOff(0)] if can_lose_prototypes(bench.model) else [])]
    expected = bench.logits(plan_of(bench.model, edits))
    monkeypatch.setattr(bench_module, "LARGEST", 1)
    seen, base = look(bench.model, VALIDATION)
    poor = Workbench(None, bench.model, bench.data, bench.can, base, seen)
    assert seen is None
    assert "each change looks at all images again" in poor.looks_again
    assert bench.looks_again == ""
    told: list[float] = []
    found = poor.logits(plan_of(bench.model, edits), told.append)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert told == sorted(told)
    assert told[-1] == 1


def test_rows_of_a_last_layer_stay_but_a_region_can_be_forbidden(bench):
    free = can_lose_prototypes(bench.model)
    assert [bool(bench.can[kind]) for kind in ("off", "move", "forbid")] == [not free, not free, False]
    if free:
        return
    for edit in (SwitchOff(1), Move(1, "class 2")):
        with pytest.raises(ProtolensError, match=r"are the rows of its last layer, one a class: none can go, or speak"):
            edited_model(bench.model, [edit])
    assert "`protolens convert` finds prototypes that can." in bench.can["off"]


def test_where_distances_are_added_up_it_says_what_a_prototype_less_means(bench):
    choice = bench.model.settings
    by_distance = bench.model.name == "prototypedl" or getattr(choice, "similarity", "") == "linear"
    assert ("adds up distances: without a prototype all images" in bench.caution) == by_distance


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    config = digits_run(stages={"train": {"epochs": 4}}, train={"batch": 64})
    return fit(config, tmp_path_factory.mktemp("editing") / "run")


def test_opening_looks_at_each_validation_image_once_and_at_no_test_image(run, monkeypatch):
    asked: list[tuple[str, int]] = []
    take = MemoryImages.take

    def watched(self, indices):
        asked.append((self.name, len(indices)))
        return take(self, indices)

    # what is compared of the splits is known by then
    data = open_data(run.config.data)
    assert data.digests
    monkeypatch.setattr(MemoryImages, "take", watched)
    monkeypatch.setattr("protolens.editing.workbench.open_data", lambda config: data)
    told: list[float] = []
    opened = Workbench.open(run, step=told.append)
    assert sum(count for _, count in asked) == len(opened.images) == len(opened.labels)
    assert told[-1] == 1
    opened.consequences([SwitchOff(0), Move(1, "9")])
    assert sum(count for _, count in asked) == len(opened.images)
    opened.consequences([Forbid((0, 0, 2, 2))])
    before = list(asked)
    opened.consequences([Forbid((0, 0, 2, 2)), SwitchOff(3)])
    assert asked == before
    assert {name for name, _ in asked} == {"training", "validation"}


def test_a_step_that_raises_stops_and_the_bench_goes_on_afterwards(run):
    opened = Workbench.open(run)

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.consequences([Forbid((0, 0, 2, 2))], stop)
    told: list[float] = []
    assert opened.consequences([Forbid((0, 0, 2, 2))], told.append).before.images == len(opened.images)
    assert told == sorted(told)
    assert told[-1] == 1


def test_other_images_than_those_of_the_run_are_refused(run, tmp_path):
    for name in ("model.safetensors", "prototypes.json", "run.json"):
        (tmp_path / name).write_bytes((run.folder / name).read_bytes())
    (tmp_path / "config.toml").write_text(
        (run.folder / "config.toml").read_text().replace("split_seed = 0", "split_seed = 1")
    )
    with pytest.raises(ProtolensError, match="are not those that the run was made with"):
        Workbench.open(Run.open(tmp_path))
