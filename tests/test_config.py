"""Settings: what is written is read back, and a wrong word is one sentence that names the right one."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protolens.config import (
    RECIPES,
    DataConfig,
    RunConfig,
    Stage,
    build,
    merge,
    read_run,
    recipe_names,
    seed_of,
    settings_of,
    to_mapping,
    to_toml,
)
from protolens.errors import ProtolensError
from protolens.models import build_model, calendar, complete
from tests.conftest import make_task


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"data": {"nam": "mnist"}}, "x.toml: data.nam is not a setting; did you mean data.name?"),
        (
            {"data": {"augment": {"flop": 1}}},
            "x.toml: data.augment.flop is not a setting; did you mean data.augment.flip?",
        ),
        ({"trian": {}}, "x.toml: trian is not a setting; did you mean train?"),
        ({"train": {"batch": "many"}}, "x.toml: train.batch cannot be 'many': input should be a valid integer"),
        ({"train": {"batch": 0}}, "x.toml: train.batch cannot be 0: input should be greater than 0"),
        (
            {"data": {"leakage": "ignore"}},
            "x.toml: data.leakage cannot be 'ignore': input should be 'stop', 'drop' or 'allow'",
        ),
        ({"data": {"validation": math.nan}}, "x.toml: data.validation cannot be nan"),
        ({"data": 3}, "x.toml: data cannot be 3"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tables, sentence):
    with pytest.raises(ProtolensError) as caught:
        build(RunConfig, tables, "x.toml")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_model_s_unknown_setting_names_the_model_and_the_nearest():
    with pytest.raises(ProtolensError) as caught:
        build_model({"name": "prototypedl", "prototype": 3}, make_task(), 0, "r.toml")
    assert str(caught.value) == (
        "r.toml: model.prototype is not a setting of prototypedl; did you mean model.prototypes?"
    )


def test_an_unknown_stage_names_the_nearest():
    model = build_model({"name": "prototypedl"}, make_task(), 0)
    with pytest.raises(ProtolensError, match=r"prototypedl has no stage trian; did you mean stages\.train\?"):
        calendar(model, {"trian": {"epochs": 3}}, "r.toml")


def test_words_from_the_command_line_become_numbers_and_truths():
    run = build(RunConfig, {"data": {"size": "32", "augment": {"flip": "true"}}, "train": {"batch": "64"}}, "words")
    assert (run.data.size, run.data.augment.flip, run.train.batch) == (32, True, 64)


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_is_understood_and_its_complete_form_reads_back_as_the_same_run(name, tmp_path):
    run, where = read_run(name)
    model = build_model(run.model, make_task(3, (32, 32)), 0, where)
    stages = calendar(model, run.stages, where)
    whole = complete(run, model, stages)
    path = tmp_path / "config.toml"
    path.write_text(to_toml(to_mapping(whole)))
    again, _ = read_run(path)
    assert to_mapping(again) == to_mapping(whole)
    assert calendar(build_model(again.model, make_task(3, (32, 32)), 0), again.stages) == stages


def test_the_published_table_has_a_recipe_a_row():
    rows = {name for name in recipe_names() if name.endswith(("-deconv", "-upconv"))}
    assert len(rows) == 7
    assert all("published it:" in (RECIPES / f"{name}.toml").read_text().splitlines()[0] for name in rows)


@given(st.integers(0, 10), st.text(max_size=5), st.text(max_size=5))
def test_seeds_of_generators_depend_on_run_seed_and_name(seed, first, second):
    assert seed_of(seed, first) == seed_of(seed, first)
    assert 0 <= seed_of(seed, first) < 2**63
    if first != second:
        assert seed_of(seed, first) != seed_of(seed, second)
    assert seed_of(seed, first) != seed_of(seed + 1, first)


def test_merging_keeps_what_is_below_and_prefers_what_is_above():
    below = {"a": 1, "t": {"x": 1, "y": 2}}
    assert merge(below, {"t": {"y": 3, "z": 4}, "b": 5}) == {"a": 1, "b": 5, "t": {"x": 1, "y": 3, "z": 4}}
    assert below == {"a": 1, "t": {"x": 1, "y": 2}}


def test_every_setting_is_listed_with_its_type_and_a_line_of_help():
    rows = list(settings_of(RunConfig, "")) + list(settings_of(Stage, "stages.NAME"))
    assert ("data.size", "int | none", None) in [row[:3] for row in rows]
    assert all(help for *_, help in rows)
    listed = {name for name, *_ in rows if name.startswith("data.") and name.count(".") == 1}
    assert listed | {"data.augment"} == {f"data.{entry.name}" for entry in dataclasses.fields(DataConfig)}
