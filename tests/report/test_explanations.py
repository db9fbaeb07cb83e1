import json

import pytest
from PIL import Image

from protolens.errors import ProtolensError
from protolens.report import write_explanations


@pytest.fixture
def written(maker, tmp_path):
    made = maker(classes=("cat", "<b>dog</b>"))
    run = made.write()
    explanations = [made.explanation(None, None) for _ in range(3)]
    path = write_explanations(run, explanations, [made.png() for _ in explanations], tmp_path / "out")
    return path, explanations


def test_the_page_shows_each_image_with_its_sentence(written):
    path, explanations = written
    text = path.read_text(encoding="utf-8")
    assert path.name == "explanations.html"
    assert text.count('<details class="why"') == len(explanations)
    assert "<b>dog</b>" not in text
    assert "&lt;b&gt;dog&lt;/b&gt;" in text


def test_the_json_holds_the_explanations_and_what_they_rest_on(written):
    path, explanations = written
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert content["explanations"] == json.loads(json.dumps([each.to_dict() for each in explanations]))
    assert content["run"] == "drawn-run"
    assert content["model"]["digest"] == "abc"
    assert content["data"]["digests"]["test"] == "t" * 64


def test_the_figure_has_a_row_for_each_image(written, maker):
    path, explanations = written
    with Image.open(path.with_suffix(".png")) as figure:
        width, height = figure.size
    assert width > height * 4 / len(explanations) > 0


def test_an_image_whose_reasons_do_not_sum_is_refused(maker, tmp_path):
    made = maker()
    run = made.write()
    explanation = made.explanation(None, None)
    object.__setattr__(explanation, "logit", explanation.logit + 1)
    with pytest.raises(ProtolensError, match="these reasons are not those of the model"):
        write_explanations(run, [explanation], [made.png()], tmp_path / "out")


def test_prototypes_at_places_are_shown_where_they_are_found(maker, tmp_path):
    made = maker(places=True, bands=3)
    run = made.write()
    explanation = made.explanation(None, None)
    path = write_explanations(run, [explanation], [made.png()], tmp_path / "out")
    text = path.read_text(encoding="utf-8")
    first = explanation.reasons[0].prototype
    assert f'aria-label="the image; a box marks where it is most like prototype {first}"' in text
    assert text.count('alt="heat map: ') == len(explanation.maps)
    assert "What is in the" not in text
    with Image.open(path.with_suffix(".png")) as figure, Image.open(tmp_path / "out/explanations.png") as same:
        assert figure.size == same.size
        width, height = figure.size
    # two rows of four cells for the one image
    assert 1.5 < width / height < 3
