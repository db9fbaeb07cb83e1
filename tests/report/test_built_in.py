import re

from protolens.report import write_report
from protolens.report.built_in import different, farness, own_of, own_of_run
from protolens.train import Run


def text_of(run: Run) -> str:
    page = write_report(run).read_text(encoding="utf-8")
    return re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split('id="built-in"')[-1]).replace("\N{NO-BREAK SPACE}", " ")
    )


def test_figures_are_counted_from_the_entries(maker):
    run = maker(built_in=True, decoder=False).write()
    found = run.built_in
    assert (own_of(found, "dot_product"), own_of(found, "distance")) == (3, 1)
    assert (different(found, "dot_product"), different(found, "distance")) == (3, 1)
    assert own_of_run(found, run.prototypes) == 8
    assert farness(found) == (3.0, 0.5)


def test_the_section_answers_with_both_measures_and_both_kinds(maker):
    run = maker(built_in=True, decoder=False).write()
    said = text_of(run)
    assert "What are the network’s own prototypes like?" in said
    assert "is of its class for 3 of 3 by dot product, and for 1 of 3 by distance (the same image for all)." in said
    assert "By distance it is so for 8 of this run’s 8 prototypes." in said
    assert "The built-in ones lie 3.00 units from their nearest image, this run’s 0.500." in said
    assert "prototype’s class (chance: 33.3 %) 100 % 33.3 % 100 %" in said
    assert "dog train/1, dot product 21.0" in said
    assert "cat, not dog train/40, 3.00 units away" in said
    assert "it keeps 50.0 % for the codes, 60.0 % for this run’s prototypes and 1.00 % for the built-in ones" in said
    assert re.search(r"The lines from zero are the built-in prototypes, drawn [\d.]+ times as long\.", said)
    assert (run.folder / "figures/built-in.png").exists()


def test_umap_says_what_it_keeps(maker):
    made = maker(built_in=True, decoder=False)
    run = made.write()
    found = run.built_in
    found["map"] |= {"how": "umap", **{m: found["map"][m] | {"kept": None} for m in ("distance", "dot_product")}}
    made.json("built_in.json", found)
    said = text_of(Run.open(run.folder))
    assert "UMAP by Euclidean distance: neighbours stay neighbours" in said
    assert "UMAP by cosine:" in said
    assert "lines from zero" not in said


def test_many_classes_are_not_told_by_colour(maker):
    said = text_of(
        maker(built_in=True, decoder=False, classes=[f"class {k}" for k in range(12)], prototypes=24).write()
    )
    assert "There are more classes than colours" in said


def test_a_run_without_such_prototypes_and_the_file_of_an_earlier_model_have_no_section(maker):
    made = maker(built_in=True)
    run = made.write()
    made.json("built_in.json", run.built_in | {"model": "another"})
    for other in (Run.open(run.folder), maker().write()):
        assert "own prototypes like" not in write_report(other).read_text(encoding="utf-8")
