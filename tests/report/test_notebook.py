"""Pages below the cells of a notebook, and the notebook of the documentation from top to bottom."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import protolens
from protolens.errors import ProtolensError

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tour.ipynb"


class Frame(HTMLParser):
    """Reads what a frame holds."""

    def handle_starttag(self, tag, attrs):
        self.tag, self.attributes = tag, dict(attrs)


def framed(shown) -> dict[str, str]:
    reader = Frame()
    reader.feed(shown._repr_html_())
    assert reader.tag == "iframe"
    return reader.attributes


def test_a_page_is_framed_as_it_is(tmp_path):
    page = '<p title="a & b">é <script>1 < 2</script></p>'
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    for given in (tmp_path, tmp_path / "report.html"):
        attributes = framed(protolens.show(given, height=99))
        assert (attributes["srcdoc"], attributes["height"]) == (page, "99")


@pytest.mark.parametrize("name", ["missing.html", "run.json", "."])
def test_what_is_no_page_is_refused(tmp_path, name):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ProtolensError, match="is no page"):
        protolens.show(tmp_path / name)


def test_the_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names, frames = {}, 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        *before, last = "".join(cell["source"]).splitlines()
        exec("\n".join(before), names)
        if last.startswith("protolens.show("):
            frames += len(framed(eval(last, names))["srcdoc"]) > 1000
        else:
            exec(last, names)
    assert frames == 3
