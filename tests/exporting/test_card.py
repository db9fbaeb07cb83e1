"""A model card says what the evaluation says, in a form that hubs read, and shows names as they are."""

import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from protolens.config import DataConfig
from protolens.evaluation import evaluate
from protolens.exporting import export
from protolens.exporting.card import diagram_of, exhibited, papers_of, plain
from protolens.exporting.front_matter import _lines
from protolens.models import MODELS
from protolens.report.gallery import Prototype
from protolens.report.numbers import percent
from protolens.report.pictures import Picture
from protolens.train import fit
from tests.conftest import digits_run


@pytest.fixture(scope="module")
def text(trained, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("card") / "digits"
    export(trained, folder, format="hf", license="cc-by-4.0")
    return (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def evaluation(trained) -> dict:
    return json.loads((trained.folder / "evaluation.json").read_text())


def figures(text: str) -> dict[str, str]:
    """The first two cells of each row of each table."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", text, flags=re.MULTILINE)
    return dict(rows)


def test_a_hub_reads_its_figures(text, evaluation):
    card = ModelCard(text).data
    assert (card.license, card.library_name, card.pipeline_tag) == ("cc-by-4.0", "protolens", "image-classification")
    assert card.datasets == ["digits"]
    assert {"protolens", "image-classification", "arxiv:1710.04806", "prototypedl"} <= {*card.tags, card.library_name}
    found = {result.metric_type: result for result in card.eval_results}
    assert found["accuracy"].metric_value == evaluation["accuracy"]
    assert found["roc_auc"].metric_value == evaluation["area_under_roc"]
    assert found["brier_score"].metric_value == evaluation["brier_score"]
    assert {result.dataset_split for result in card.eval_results} == {"test"}
    assert set(card.metrics) == set(found)
    low, high = evaluation["accuracy_interval"]
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in found["accuracy"].metric_name


def test_its_tables_hold_the_figures_of_the_evaluation(text, evaluation):
    rows = figures(text)
    assert rows["accuracy"] == percent(evaluation["accuracy"])
    assert rows["balanced accuracy"] == percent(evaluation["balanced_accuracy"])
    predicates = evaluation["predicates"]
    assert rows["purity"] == f"{100 * predicates['transparency']['by_similarity']['purity']:.2f}\N{NO-BREAK SPACE}%"
    assert float(rows["coverage"][:-2]) == pytest.approx(100 * predicates["diversity"]["coverage"], abs=0.005)
    assert rows["own class nearest"] == percent(evaluation["prototypes"]["own_class_nearest"])


def test_it_says_how_it_was_trained(text, trained):
    rows, made = figures(text), trained.facts["made_with"]
    assert rows["seed"] == "0"
    assert rows["commit"] == made["commit"]
    assert rows["digest of the model"] == trained.facts["model"]["digest"]
    assert made["processor"] in rows["hardware"].replace("\\", "")
    assert made["torch"] in rows["versions"]
    chosen = trained.facts["chosen"][-1]["epoch"]
    assert f"train (10\N{NO-BREAK SPACE}epochs, the weights of epoch {chosen} were taken)" in text


def test_it_says_what_was_not_measured_until_it_is(text, trained, evaluation, tmp_path):
    assert "`protolens evaluate digits --robustness`" in text
    assert "`protolens evaluate digits --uncertainty DATA`" in text
    assert "Whether it decides as a black box does" in text
    path = trained.folder / "robustness.json"
    try:
        for digest, there in ((trained.facts["model"]["digest"], False), ("another model", True)):
            path.write_text(json.dumps({"model": digest}))
            export(trained, tmp_path / digest, format="hf")
            assert ("--robustness" in (tmp_path / digest / "README.md").read_text()) is there
    finally:
        path.unlink()


def test_without_a_license_the_line_is_there_to_be_filled_in(trained, tmp_path):
    export(trained, tmp_path / "hub", format="hf")
    text = (tmp_path / "hub" / "README.md").read_text()
    assert text.startswith("---\n# license: fill this in, such as apache-2.0\n")
    assert ModelCard(text).data.license is None
    filled = text.replace("# license: fill this in, such as apache-2.0", "license: mit")
    assert ModelCard(filled).data.license == "mit"


def test_three_prototypes_are_shown_with_their_pictures(text, trained):
    shown = re.findall(r"!\[([^]]*)\]\((pictures/prototype-\d\.png)\)", text)
    assert [file for _, file in shown] == [f"pictures/prototype-{number}.png" for number in range(3)]
    numbers = [int(re.search(r"prototype (\d+)", alt)[1]) for alt, _ in shown]
    uses = {entry["prototype"]: entry["images"] for entry in trained.prototypes}
    assert uses[numbers[0]] == max(uses.values())


def test_a_run_without_pictures_has_a_card_without_them(trained, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.toml", "run.json", "model.safetensors", "prototypes.json", "evaluation.json"):
        (copy / name).write_bytes((trained.folder / name).read_bytes())
    report = export(copy, format="hf")
    assert report["folder"] == str(tmp_path / "run-hf")
    assert "pictures" not in (tmp_path / "run-hf" / "README.md").read_text()
    assert not [name for name in report["files"] if name.endswith(".png")]


def test_a_set_of_several_classes_is_told_by_its_own_figures(several, tmp_path, monkeypatch):
    for room in ("train.fitting", "evaluation.evaluation"):
        monkeypatch.setattr(f"protolens.{room}.open_data", lambda config: several)
    changes = {"data": {"name": "pairs"}, "model": {"name": "blackbox"}, "train": {"batch": 64}}
    run = fit(digits_run(**changes, stages={"train": {"epochs": 1}}), tmp_path / "run")
    found = evaluate(run).content
    export(run, tmp_path / "hub", format="hf")
    text = (tmp_path / "hub" / "README.md").read_text()
    results = {result.metric_type: result.metric_value for result in ModelCard(text).data.eval_results}
    assert results["mean_average_precision"] == found["mean_average_precision"]
    assert results["f1"] == found["macro_f1"]
    assert "accuracy" not in results
    assert "which of 10\N{NO-BREAK SPACE}classes" in text
    assert DataConfig().name == "digits"  # nothing global was changed


def test_each_model_s_picture_and_papers_come_from_its_own_text():
    for name in MODELS:
        assert "->" in diagram_of(name)[:200] or name == "bayesian"
    assert papers_of("protopnet") == ["1806.10574"]
    assert papers_of("blackbox") == []
    assert diagram_of("prototypedl").splitlines()[0].startswith("image -> encoder -> code")


def prototype(number: int, name: str, images: int) -> Prototype:
    return Prototype(number, name, images, Picture(b""), None, "", "", ())


def test_the_most_used_of_different_classes_stand_first():
    some = [prototype(0, "a", 5), prototype(1, "a", 9), prototype(2, "b", 1), prototype(3, "a", 8)]
    assert [each.number for each in exhibited(some)] == [1, 2, 3]
    assert [each.number for each in exhibited(some[:1])] == [0]


values = st.recursive(
    st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z][a-z_-]{0,5}x", fullmatch=True), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["alpha", "b-c", "model_x"]), values, min_size=1))
def test_front_matter_is_read_back_by_a_yaml_parser(content):
    assert yaml.safe_load("\n".join(_lines(content))) == content


def cell(words: str) -> list:
    """What a parser of Markdown makes of words in a cell of a table."""
    rendered = MarkdownIt("commonmark").enable("table").parse(f"| head |\n| --- |\n| x{plain(words)}x |")
    cells = [token for token in rendered if token.type == "inline"]
    assert len(cells) == 2
    return cells[1].children


visible = st.characters(exclude_categories=["Cs", "Cc", "Z"])


@given(st.text(visible | st.sampled_from(" |*_<>&\\[]()!~#"), min_size=1).filter(lambda words: "`" not in words))
def test_names_are_shown_as_they_are(words):
    children = cell(words)
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == f"x{words}x"


@given(st.text(visible | st.sampled_from(" `|*<&\\[]()!"), min_size=1))
def test_no_name_becomes_a_link_a_tag_or_another_cell(words):
    assert {child.type for child in cell(words)} <= {"text", "text_special", "code_inline"}


def test_a_name_of_several_lines_stays_in_one():
    assert plain("two\nlines\tand `a command`") == "two lines and `a command`"
