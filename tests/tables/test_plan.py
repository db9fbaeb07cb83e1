"""Table files: which cells they stand for, and the sentence at each mistake."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protolens.config import recipe_names
from protolens.errors import ProtolensError
from protolens.tables import cells_of, find, make_row, read_table
from protolens.tables.plan import flat_goals

DOCS = Path(__file__).parents[2] / "docs" / "tables"


def read(folder: Path, text: str):
    (folder / "t.toml").write_text(text)
    return read_table(folder / "t.toml")


def test_the_cells_are_all_seeds_of_all_models_and_what_they_become(tmp_path):
    table = read(
        tmp_path,
        'models = ["mnist-blackbox", "mnist-flint"]\nseeds = [0, 2]\nconvert = ["kmex"]\nruns = "r"\n'
        "[settings.mnist-flint]\nstages.predict.epochs = 1\n[settings.kmex]\nmodel.per_class = 3\n",
    )
    cells = cells_of(table)
    names = [
        f"r/mnist-{model}-{seed}{end}" for model in ("blackbox", "flint") for seed in (0, 2) for end in ("", "-kmex")
    ]
    assert [cell.folder.as_posix() for cell in cells] == names
    assert [cell.label for cell in cells[:2]] == ["mnist-blackbox", "mnist-blackbox-kmex"]
    assert cells[1].source == cells[0].folder
    assert cells[1].changes == {"model": {"per_class": 3}}
    config, _ = cells[6].config()
    assert (config.seed, config.stages["predict"]["epochs"]) == (2, 1)
    assert table.title == "t"
    assert table.seeds == (0, 2)


def test_a_run_is_held_against_the_black_box_of_its_data_and_seed_or_against_what_it_was_made_of(tmp_path):
    table = read(
        tmp_path,
        'models = ["mnist-flint", "mnist-blackbox"]\nseeds = [0, 1]\nconvert = ["kmex"]\n'
        'measure = ["gap", "uncertainty"]\nimages = 40\n'
        'data = ["mnist", "fashion-mnist"]\nothers = ["fashion-mnist", "cifar10"]\n',
    )
    found = {cell.folder.name: cell.measures for cell in cells_of(table)}
    boxes = {name: each.black_box and each.black_box.name for name, each in found.items()}
    for data in ("mnist", "fashion-mnist"):
        for seed in (0, 1):
            flint, box = f"mnist-flint-{data}-{seed}", f"mnist-blackbox-{data}-{seed}"
            assert (boxes[flint], boxes[f"{flint}-kmex"]) == (box, flint)
            assert (boxes[box], boxes[f"{box}-kmex"]) == (None, box)
    assert len(boxes) == 16
    assert {each.images for each in found.values()} == {40}
    assert found["mnist-flint-mnist-0"].others == ("fashion-mnist", "cifar10")
    assert found["mnist-flint-fashion-mnist-0-kmex"].others == ("cifar10",)
    alone = cells_of(read(tmp_path, 'models = ["mnist-flint"]\n'))
    assert {(cell.measures.kinds, cell.measures.black_box) for cell in alone} == {((), None)}


def test_models_are_crossed_with_data_where_these_are_named(tmp_path):
    cells = cells_of(read(tmp_path, 'models = ["mnist-flint"]\nseeds = [1]\ndata = ["mnist", "medmnist:bloodmnist"]\n'))
    assert [cell.folder.as_posix() for cell in cells] == [
        "runs/mnist-flint-mnist-1",
        "runs/mnist-flint-medmnist-bloodmnist-1",
    ]
    assert [cell.config()[0].data.name for cell in cells] == ["mnist", "medmnist:bloodmnist"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"t\.toml: models is missing; write models = "),
        ("models = []", r"t\.toml: models cannot be \(?\[?.*"),
        (
            'modles = ["mnist-flint"]\nmodels = ["mnist-flint"]',
            r"t\.toml: modles is not a setting; did you mean models\?",
        ),
        ('models = ["mnist-flnt"]', r"mnist-flnt is not a recipe; did you mean mnist-flint\?"),
        ('models = ["nowhere.toml"]', r"nowhere\.toml does not exist"),
        ('models = ["mnist-flint"]\nconvert = ["kmx"]', r"t\.toml: convert\.0 cannot be 'kmx': input should be 'kmex'"),
        ('models = ["mnist-flint"]\nmeasure = ["gaps"]', r"t\.toml: measure\.0 cannot be 'gaps': input should be 'rob"),
        ('models = ["mnist-flint"]\nmeasure = ["gap", "gap"]', r"t\.toml: measure has gap twice; write it once"),
        ('models = ["mnist-flint"]\nothers = ["cifar10"]', r"t\.toml: others is asked for by uncertainty alone; write"),
        ('models = ["mnist-flint"]\nimages = 3', r"t\.toml: images cannot be 3: input should be greater than or eq"),
        ('models = ["mnist-flint"]\nseeds = []', r"t\.toml: seeds cannot be "),
        ('models = ["mnist-flint"]\nseeds = [1, 1]', r"t\.toml: seeds has 1 twice; write it once"),
        ('models = ["mnist-flint", "mnist-flint"]', r"t\.toml: models has mnist-flint twice"),
        (
            'models = ["mnist-flint"]\n[settings.mnist-flnt]\nseed = 1',
            r"settings\.mnist-flnt is of no model here; did you mean mnist-flint\?",
        ),
        (
            'models = ["mnist-flint"]\n[settings.mnist-flint]\ntrain.bach = 1',
            r"train\.bach is not a setting; did you mean",
        ),
        ('models = ["mnist-flint"]\n[goals.flint]\naccuracy = 1', r"goals\.flint is of no model here; did you mean"),
        (
            'models = ["mnist-flint"]\n[goals.mnist-flint]\naccuracy = "high"',
            r"t\.toml: goals\.mnist-flint\.accuracy cannot be 'high': it should be a number",
        ),
        ("models = [", r"t\.toml is not a readable TOML file"),
    ],
)
def test_a_mistake_is_one_sentence(text, sentence, tmp_path):
    with pytest.raises(ProtolensError, match=sentence):
        read(tmp_path, text)
    with pytest.raises(ProtolensError, match=r"nothing\.toml does not exist$"):
        read_table(tmp_path / "nothing.toml")


@pytest.mark.parametrize("name", ["mnist", "pneumonia"])
def test_the_tables_that_come_along_are_six_models_with_and_without_kmex_over_three_seeds(name):
    cells = cells_of(read_table(DOCS / f"{name}.toml"))
    assert len(cells) == 6 * 3 * 2
    assert {cell.recipe for cell in cells} <= set(recipe_names())
    models = {cell.config()[0].model["name"] for cell in cells if cell.source is None}
    assert models == {"blackbox", "prototypedl", "protopnet", "protovae", "pantypes", "flint"}


def test_goals_may_have_their_dots_quoted_or_not():
    assert flat_goals({"a.b": 1, "c": {"d": {"e": 2}}}) == {"a.b": 1.0, "c.d.e": 2.0}


def test_a_figure_is_found_by_its_dots_also_where_its_name_has_one():
    content = {"a": {"b": {"1.5": 2}}, "c": 3, "d": None}
    assert (find(content, "a.b.1.5"), find(content, "c"), find(content, "d")) == (2.0, 3.0, None)
    with pytest.raises(KeyError):
        find(content, "a.d")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.floats(0, 1), st.sampled_from([1, -1]))
def test_a_row_has_mean_spread_and_verdict(values, goal, better):
    made = [{"seconds": 10.0, "commit": "b"}, {"seconds": None, "commit": None}]
    row = make_row("r", "d", range(len(values)), "m", values, made, goal, better)
    mean = sum(values) / len(values)
    assert row["mean"] == pytest.approx(mean)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    assert row["spread"] == pytest.approx(variance**0.5, abs=1e-9)
    assert row["met"] == (row["mean"] >= goal if better > 0 else row["mean"] <= goal)
    assert (row["seconds"], row["commit"]) == (10.0, "b, unknown")


def test_a_row_with_a_figure_that_is_not_defined_has_no_mean():
    row = make_row("r", "d", [0, 1], "m", [0.5, None], [{"seconds": None, "commit": "a"}] * 2, 0.1)
    assert (row["mean"], row["spread"], row["met"], row["seconds"]) == (None, None, None, None)
    assert make_row("r", "d", [0], "m", [0.5], [{"seconds": 1.0, "commit": "a"}])["spread"] is None
