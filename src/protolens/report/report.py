"""The report of a run: one HTML file, and its figures as PNG files."""

from pathlib import Path

from protolens.files import write_bytes, write_text
from protolens.report.about import again_section, data_section, edited_sentence, head_of, path_of
from protolens.report.built_in import built_in_figures, built_in_section
from protolens.report.gallery import gallery_section, read_prototypes
from protolens.report.learning import learning_section
from protolens.report.page import render
from protolens.report.parts import parts_section
from protolens.report.pictures import Album
from protolens.report.places import painter_of, places_figure, places_section, with_maps
from protolens.report.quality import quality_section, verdict
from protolens.report.samples import make_figures, read_examples, sample_section
from protolens.train import Run


def write_report(run: Run | Path | str) -> Path:
    """Write RUN/report.html and RUN/figures/*.png from the files of a run folder; returns the report's path.

    A run that was not evaluated has a report as well, without what an evaluation would say. Raises ProtolensError when
    a file of the run is missing or damaged.
    """
    run = Run.open(run)
    album = Album(run.folder)
    evaluation = run.evaluation
    prototypes = read_prototypes(run, album, evaluation.get("maximised") if evaluation else None)
    examples = read_examples(run, evaluation, prototypes, album) if evaluation else None
    painter = painter_of(run, evaluation, album) if evaluation else None
    if evaluation and examples and painter:
        examples = with_maps(examples, evaluation, painter)
    places = places_section(evaluation, prototypes, painter) if evaluation and painter else None
    mend = f"`protolens evaluate {path_of(run.folder)} --again` makes it anew"
    parts = parts_section(evaluation, album, mend) if evaluation else None
    data = run.facts["data"]
    built_in = built_in_section(run, prototypes, album)
    several = data.get("several", False)
    page = render(
        "report.html",
        **head_of(run),
        edited=edited_sentence(run),
        command=f"protolens evaluate {path_of(run.folder)}",
        verdict=verdict(evaluation, data) if evaluation else None,
        data=data_section(run),
        learning=learning_section(run, any(prototype.patch for prototype in prototypes)),
        quality=quality_section(evaluation, data, run.prototypes) if evaluation else None,
        gallery=gallery_section(run, prototypes, evaluation.get("relevance") if evaluation else None),
        built_in=built_in,
        prototypes=prototypes,
        places=places,
        parts=parts,
        examples=examples,
        samples=sample_section(examples, several) if examples else None,
        several=several,
        again=again_section(run),
    )
    figures = make_figures(prototypes, examples) | built_in_figures(built_in)
    if places and painter and examples:
        figures["places.png"] = places_figure(examples["sample"], places["legend"], painter)
    for name, content in figures.items():
        write_bytes(run.folder / "figures" / name, content)
    path = run.folder / "report.html"
    write_text(path, page)
    return path
