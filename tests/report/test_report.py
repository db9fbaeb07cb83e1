import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from protolens.errors import ProtolensError
from protolens.report import write_report
from protolens.report.gallery import short_name
from protolens.train import Run

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, and the text of each table by caption."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.elements, self.open, self.words = text, [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def said(self) -> str:
        """What a reader sees; the words of neighbours stand apart."""
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(run: Run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_a_report_answers_each_question_with_a_sentence(maker):
    page = report(maker().write())
    questions = re.findall(r"<h2[^>]*>([^<]+)</h2>\s*(?:<p class=\"answer\">[^<]|<dl)", page.text)
    assert questions == [
        "Why this?",
        "What has it learnt?",
        "What does it keep of an image?",
        "How good is it?",
        "How did it learn?",
        "What was it trained on?",
        "How can I make it again?",
        "What do the numbers mean?",
    ]


def test_the_verdict_has_accuracy_interval_and_baseline(maker):
    said = report(maker(classes=("normal", "pneumonia"), per_class=(1214, 3494)).write()).said
    assert re.search(r"75\.\d % of 940 test images are recognised \(95 % interval 7\d\.\d % to 7\d\.\d %\); ", said)
    assert "always saying “pneumonia” would reach 74.3 %" in said


def test_calibration_is_told_where_the_evaluation_has_it(maker):
    made = maker()
    run = made.write()
    said = report(run).said
    assert "calibration error ? 0 is best 0.0271 as sure as it is right: 0" in said
    assert "Brier score ? 0 is best, 2 is worst 0.123 even odds for all classes: 0.667" in said
    older = {key: value for key, value in made.evaluation().items() if key not in ("calibration_error", "brier_score")}
    made.json("evaluation.json", older)
    assert "as sure as it is right" not in report(run).said


def test_an_uneven_set_is_told_and_has_balanced_accuracy_in_its_curves(maker):
    said = report(maker(classes=("normal", "pneumonia"), per_class=(1214, 3494)).write()).said
    assert "the classes are uneven: pneumonia has 3,494, 2.88 times the 1,214 of normal" in said
    assert "the classes are uneven, so trust the balanced accuracy" in said
    assert re.search(r"Validation accuracy accuracy balanced accuracy always the most common class", said)


def test_an_even_set_has_no_word_of_balance_in_its_curves(maker):
    said = report(maker().write()).said
    assert "the classes are even, 100 to 106 training images each" in said
    assert "Validation accuracy accuracy always the most common class" in said


def test_leaks_and_notes_are_told(maker):
    said = report(maker().write()).said
    assert "Yes: 1 pair of images with 1 picture in common, 1 dropped." in said
    assert "train/3 in training test/9 in test equal pixels dropped from training" in said
    assert "The pictures are drawn by the test." in said


def test_a_run_without_evaluation_says_which_command_makes_it(maker, monkeypatch):
    made = maker(evaluated=False)
    run = made.write()
    monkeypatch.chdir(made.folder.parent)
    said = report(run).said
    assert "Not evaluated yet: protolens evaluate drawn-run" in said
    assert sorted(path.name for path in (run.folder / "figures").iterdir()) == ["prototypes.png"]


def test_an_evaluation_of_an_earlier_model_is_no_evaluation(maker):
    made = maker()
    run = made.write()
    made.json("evaluation.json", made.evaluation() | {"model": "another"})
    assert "Not evaluated yet" in report(run).said


def test_a_run_without_epochs_has_a_report(maker):
    assert "It took no epoch of training" in report(maker(epochs=0).write()).said


def test_figures_are_written_beside_the_report(maker):
    run = maker().write()
    write_report(run)
    names = sorted(path.name for path in (run.folder / "figures").iterdir())
    assert names == ["decoder-samples.png", "prototypes.png", "sample.png"]


def test_a_model_without_decoder_has_two_rows_and_no_reconstructions(maker):
    run = maker(decoder=False).write()
    page = report(run)
    assert "reconstruction" not in page.said.split("How can I make it again?")[0].split("Why this?")[-1]
    assert not (run.folder / "figures/decoder-samples.png").exists()
    assert "the training image nearest to prototype 0, which speaks for" in page.text


def test_every_name_is_text_and_never_markup(maker):
    made = maker(classes=(EVIL, 'a"b', "{{ 7 * 7 }}"))
    run = made.write()
    facts = json.loads((run.folder / "run.json").read_text())
    facts["data"] |= {"name": EVIL, "notes": [EVIL]}
    made.json("run.json", facts)
    page = report(Run.open(run.folder))
    assert EVIL in page.said
    assert "{{ 7 * 7 }}" in page.said
    kinds = [script["type"] for script in page.all("script")]
    assert kinds.count("module") == 1
    assert set(kinds) == {"module", "application/json"}
    assert page.text.count("<script") == len(kinds)


def test_the_policy_lets_only_the_own_style_and_script_run(maker):
    page = report(maker().write())
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag, kind in (("style", ""), ("script", ' type="module"')):
        content = re.search(rf"<{tag}{kind}>(.*?)</{tag}>", page.text, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_nothing_is_asked_of_another_file(maker):
    page = report(maker().write())
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("data:", "#"))


def test_every_link_leads_somewhere_and_no_id_is_used_twice(maker):
    page = report(maker().write())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for _, attributes in page.elements if attributes.get("href", "").startswith("#")}
    assert targets <= set(ids)


def test_every_picture_says_what_it_shows(maker):
    page = report(maker().write())
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all(svg.get("aria-hidden") or svg["aria-label"].strip() for svg in page.all("svg"))


def test_every_head_of_a_table_says_what_it_heads(maker):
    assert all("scope" in head for head in report(maker().write()).all("th"))


def test_a_report_is_the_same_each_time(maker):
    run = maker().write()
    first = write_report(run).read_bytes()
    assert write_report(Run.open(run.folder)).read_bytes() == first


def test_where_the_images_lie_on_this_machine_stays_here(maker):
    assert "private" not in report(maker().write()).text


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("prototypes/0002.png", "the run folder is damaged, make the run again with `protolens fit`"),
        ("prototypes/0002-nearest.png", "the run folder is damaged, make the run again with `protolens fit`"),
        ("examples/000031.png", "`protolens evaluate drawn-run --again` makes it anew"),
    ],
)
def test_a_missing_picture_is_an_error_of_one_sentence(maker, monkeypatch, name, mend):
    run = maker().write()
    monkeypatch.chdir(run.folder.parent)
    (run.folder / name).unlink()
    with pytest.raises(ProtolensError) as error:
        write_report(run)
    assert str(error.value) == f"the picture {run.folder}/{name} is missing; {mend}"
    assert not (run.folder / "report.html").exists()


def test_a_report_of_many_classes_and_prototypes_stays_small(maker):
    names = [f"a class with the number {k}" for k in range(100)]
    page = report(maker(classes=names, prototypes=50, height=32, width=32, bands=3).write())
    assert len(page.text) < 4_000_000


def test_settings_are_told_with_their_meaning(maker):
    said = report(maker().write()).said
    assert "train.batch 250 images a step, over all processes together" in said
    assert "stages.train.weights.classification 20 weight of each loss term" in said


def test_a_file_is_named_without_its_folder_which_is_its_class():
    assert short_name("bunting/bunting_0001.jpg") == "bunting_0001.jpg"
    assert short_name("train/31204") == "train/31204"


def test_a_prototype_at_a_place_is_a_patch_with_what_it_can_see(maker):
    made = maker(places=True)
    run = made.write()
    page = report(run)
    for entry in run.prototypes:
        number, name = entry["prototype"], entry["provenance"]["name"]
        assert f"Prototype {number} in {name}" in page.said
        assert f"the box of prototype {number}, enlarged" in [image["alt"] for image in page.all("img")]
    assert page.said.count("the patch can see") == len(run.prototypes)
    assert {"box", "field", "casing"} <= {rect.get("class") for rect in page.all("rect")}


def test_a_reason_at_a_place_says_whether_the_part_looks_like_the_patch(maker):
    page = report(maker(places=True).write())
    assert "looks like prototype" in page.said
    assert "hardly like prototype" in page.said
    assert "place not looked up" in page.said
    assert any(image["alt"].startswith("heat map: how like prototype") for image in page.all("img"))


def test_a_model_without_places_has_no_word_of_them(maker):
    page = report(maker().write())
    assert not [rect for rect in page.all("rect") if rect.get("class") in ("box", "field", "casing")]
    for word in ("receptive field", "heat map", "the patch can see", "looks like prototype"):
        assert word not in page.said


def test_a_missing_heat_map_is_an_error_of_one_sentence(maker):
    run = maker(places=True).write()
    lost = next((run.folder / "examples").glob("000031-heat-*.png"))
    lost.unlink()
    with pytest.raises(ProtolensError, match=rf"^the picture {lost} is missing; `protolens evaluate .* makes it anew$"):
        write_report(run)


def test_what_became_of_the_prototypes_is_told(maker):
    said = report(maker(followed=True).write()).said
    assert "What followed?" in said
    assert "train project 9 prototypes moved onto 8 training images, by a distance of 2.35 on average 91.2 %" in said
    assert "Where did the prototypes go? After the last epoch 7 of 8 prototypes are used" in said
    assert "Test accuracy before projection 91.2 % (95 % interval 85.0 % to 95.1 %); of the finished model" in said
    assert "Do the prototypes keep their promise?" in said
    assert "Does it say what the network says?" in said
    assert "How many prototypes does a decision need?" in said


def test_a_run_that_tells_nothing_of_its_prototypes_has_no_empty_section(maker):
    said = report(maker().write()).said
    for question in ("What followed?", "Where did the prototypes go?", "keep their promise", "Test accuracy before"):
        assert question not in said


@pytest.mark.parametrize("changes", [{"places": True, "followed": True}, {"places": True, "evaluated": False}])
def test_links_pictures_and_heads_of_a_page_with_places_are_in_order(maker, changes):
    page = report(maker(**changes).write())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")} <= set(ids)
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all(svg.get("aria-hidden") or svg["aria-label"].strip() for svg in page.all("svg"))
    assert all("scope" in head for head in page.all("th"))
    assert not [attributes for _, attributes in page.elements if "style" in attributes]
