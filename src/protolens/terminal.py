"""Results as tables in the terminal. Importing it loads no torch."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from protolens.editing import Consequences, Edit
    from protolens.evaluation import Evaluation
    from protolens.explanation import Explanation
    from protolens.train import Run


def show_evaluation(run: "Run", evaluation: "Evaluation") -> None:
    """The figures of an evaluation as a table."""
    scores = evaluation.content
    title = f"{run.folder}: {scores['images']:,} test images"
    known = (*tables_of_masks(run, scores), *tables_of_parts(scores))
    if "accuracy" not in scores:
        for part in (*tables_of_several(scores, title), *known):
            _console().print(part)
        return
    table = Table("test split", "value", "", title=title)
    table.add_row("accuracy", figure(scores["accuracy"]), _interval(scores["accuracy_interval"]))
    table.add_row("balanced accuracy", figure(scores["balanced_accuracy"]), "mean of the classes' recall")
    area = scores["area_under_roc"]
    table.add_row("area under ROC", "undefined" if area is None else f"{area:.4f}", "0.5 is chance")
    table.add_row("most common class", figure(scores["always_most_common_class"]), "accuracy of always saying it")
    if "calibration_error" in scores:  # evaluations of protolens 0.1.0 have none
        table.add_row("calibration error", f"{scores['calibration_error']:.4f}", "0 is best; as sure as it is right")
        table.add_row("Brier score", f"{scores['brier_score']:.4f}", "0 is best, 2 is worst")
    for part in (table, *known):
        _console().print(part)


def show_ensemble(found: Mapping[str, Any]) -> None:
    """Runs alone and together."""
    main = "accuracy" if "accuracy" in found else "mean_average_precision"
    table = Table("", main.replace("_", " "), "", title=f"{found['images']:,} test images")
    for member in found["members"]:
        table.add_row(member["run"], figure(member[main]), "alone")
    table.add_row("together", figure(found[main]), _interval(found[f"{main}_interval"]))
    _console().print(table)


def tables_of_masks(run: "Run", scores: dict[str, Any]) -> list[Table]:
    """How well maps tell classes apart, where the evaluation says so."""
    from protolens.report.masks import class_rows, mask_rows, masks_of

    found = masks_of(scores)
    if not found:
        return []
    table = Table("maps beside masks", "value", "", title=f"{found['pixels']:,} test pixels")
    for row in mask_rows(found):
        table.add_row(row["name"], row["value"], row["beside"])
    for row in class_rows(found, run.facts["data"]["classes"]):
        table.add_row(f"IoU of {row['name']}", row["iou"], f"prototypes: {row['prototypes']}")
    return [table]


def tables_of_parts(scores: dict[str, Any]) -> list[Table]:
    """Whether prototypes mean parts, where the evaluation says so."""
    from protolens.report.parts import meaning_sentences, part_rows, parts_of

    found = parts_of(scores)
    if not found:
        return []
    caption = "\n".join(meaning_sentences(found))
    title = f"parts where {found['asked']:,} prototypes look"
    table = Table("", "value", "random places", "the middle", title=title, caption=caption, caption_justify="left")
    for row in part_rows(found):
        table.add_row(row["name"], row["value"], row["random"], row["centre"])
    return [table]


def tables_of_several(scores: dict[str, Any], title: str) -> tuple[Table, Table]:
    """The figures, and those of each class, of an evaluation on images that can show several classes."""
    table = Table("test split", "value", "", title=title)
    interval = _interval(scores["mean_average_precision_interval"])
    table.add_row("mean average precision", figure(scores["mean_average_precision"]), interval)
    table.add_row("constant score", figure(scores["constant_score"]), "the same of a model that knows nothing")
    table.add_row("micro F1", figure(scores["micro_f1"]), "over all classes of all images")
    table.add_row("macro F1", figure(scores["macro_f1"]), "mean of the classes' F1")
    table.add_row("all classes right", figure(scores["subset_accuracy"]), _interval(scores["subset_accuracy_interval"]))
    columns = ("average_precision", "precision", "recall", "f1")
    classes = Table("class", "images", "average precision", "precision", "recall", "F1")
    for entry in scores["classes"]:
        classes.add_row(entry["name"], f"{entry['images']:,}", *(figure(entry[column]) for column in columns))
    return table, classes


def show_explanation(explanation: "Explanation", rows: int = 5) -> None:
    """An explanation as a table whose last column sums to the logit."""
    title = f"{explanation.image}: {explanation.sentence}"
    table = Table("prototype", "class", "similarity", "usual", "weight", "adds", title=title, title_justify="left")
    table.add_row("", "", "", "", "the average training image", f"{explanation.baseline:+.2f}")
    for reason in explanation.reasons[:rows]:
        figures = (f"{reason.similarity:.2f}", f"{reason.usual:.2f}", f"{reason.weight:+.2f}", f"{reason.lift:+.2f}")
        table.add_row(str(reason.prototype), reason.class_name, *figures)
    others = explanation.reasons[rows:]
    if others:
        table.add_row("", f"{len(others)} more", "", "", "", f"{sum(reason.lift for reason in others):+.2f}")
    table.add_row("", f"logit of {explanation.explained}", "", "", "sum", f"{explanation.logit:+.2f}")
    _console().print(table)


def show_faithfulness(run: "Run", found: Mapping[str, Any]) -> None:
    """Accuracy with the highest pixels alone, for each filling, and the areas under the curves."""
    kept = f"{100 * found['kept']:g} %"
    title = f"{run.folder}: {found['images']:,} test images; accuracy with {kept} of the pixels, the others replaced"
    table = Table("method", *found["fillings"], "insertion", "deletion", "ROAD", title=title, title_justify="left")
    for name, own in found["methods"].items():
        shares = (own["kept"][filling]["mean"] for filling in found["fillings"])
        table.add_row(
            name, *map(figure, shares), *(f"{own[key]['mean']:.3f}" for key in ("insertion", "deletion", "road"))
        )
    _console().print(table)
    _show_bought(found)


# figures of a comparison that fit beside each other, with their heads
COLUMNS = {
    "accuracy": "accuracy",
    "mean_average_precision": "mean AP",
    "calibration_error": "calibration error",
    "trust.agreement": "agrees with black box",
    "transparency.by_similarity.unused": "never used",
    "transparency.by_similarity.nearest_agreement": "decides by nearest",
    "transparency.by_similarity.purity": "purity",
    "transparency.parts.consistency": "part consistency",
    "diversity.vendi_score.distance": "diversity: geometric",
    "diversity.attribute_entropy": "combinatorial",
}


def show_comparison(found: Mapping[str, Any]) -> None:
    """A line a kind of run, and a sentence for each two of them."""
    from protolens.report.compared import of_others, verdicts

    kinds = found["kinds"]
    columns = {name: head for name, head in COLUMNS.items() if any(name in kind["figures"] for kind in kinds)}
    table = Table(title=f"{found['data']}: {found['images']:,} test images")
    # names may begin alike: they are broken, not cut
    table.add_column("", overflow="fold")
    for head in ("runs", *columns.values()):
        table.add_column(head)
    for kind in kinds:
        cells = [_mean(kind["figures"].get(name)) for name in columns]
        table.add_row(kind["name"], str(len(kind["runs"])), *cells)
    console = _console()
    console.print(table)
    to_read, others = verdicts(found)
    for sentence in to_read:
        console.print(escape(sentence), highlight=False)
    if others:
        console.print(of_others(others), highlight=False)


def _mean(figures: Mapping[str, Any] | None) -> str:
    """Mean and sample standard deviation of shares, in percent."""
    if figures is None or figures["mean"] is None:
        return ""
    spread = "" if figures["spread"] is None else f" ± {100 * figures['spread']:.1f}"
    return f"{100 * figures['mean']:.1f}{spread} %"


def show_uncertainty(run: "Run", found: Mapping[str, Any]) -> None:
    """What a model says when it has to, and what it refuses."""
    cuts, own = found["least"], found["forced"]
    title = f"{run.folder}: {found['draws']} draw{'s' * (found['draws'] != 1)} of the weights"
    heads = [f"refused below {100 * least:.1f} %" for least in cuts.values()]
    table = Table("images", *heads, "entropy", "of it disagreement", title=title)
    kept = [f"{figure(one['refused'])}; the rest {figure(one['accuracy'])} right" for one in found["refusal"].values()]
    doubts = [f"{one['own']:.3f}" for one in next(iter(found["others"].values()))["doubt"].values()]
    table.add_row("test", *kept, *doubts)
    for name, other in found["others"].items():
        shares = [figure(other["refusal"][cut]["refused"]) for cut in cuts]
        table.add_row(name, *shares, *(f"{one['theirs']:.3f}" for one in other["doubt"].values()))
    console = _console()
    console.print(table)
    sure = f"calibration error {own['calibration_error']:.4f}, Brier score {own['brier_score']:.4f}"
    console.print(f"forced to answer: {figure(own['accuracy'])} right ({_interval(own['interval'])}); {sure}")
    _show_bought(found)
    explained = found["explanations"]
    if explained and explained["contributions"] is not None:
        maps = "have one value" if explained["maps"] is None else f"correlate by {explained['maps']:.2f}"
        console.print(
            f"explanations of {explained['images']} test images by {explained['draws']} draws: contributions differ by "
            f"{100 * explained['contributions']:.1f} % of what speaks, LRP's maps {maps}"
        )


def show_robustness(run: "Run", found: Mapping[str, Any]) -> None:
    """Drops of prototypes by each map, what stays under noise, and prototypes found again."""
    console = _console()
    for part in (table_of_drops(run, found), table_of_noise(found["noise"])):
        console.print(part)
    again = found["prototypes_again"]
    if "codes" in again:
        console.print(table_of_prototypes_again(again))
    for part in (found["prototypes"], found["noise"], again):
        for name, reason in part["left_out"].items():
            console.print(escape(f"without {name}: {reason}"), highlight=False)
    _show_bought(found)


def table_of_drops(run: "Run", found: Mapping[str, Any]) -> Table:
    """A line a map and a filling: average drop and increase by both conventions."""
    own = found["prototypes"]
    title = f"{run.folder}: {found['images']:,} test images; {100 * own['share']:g} % of the pixels are replaced"
    heads = [f"{measure}, {where}" for measure in ("drop", "increase") for where in ("first gone", "first kept")]
    table = Table("pixels in the order of", "by", *heads, title=title)
    for name, fillings in own["maps"].items():
        for filling, measures in fillings.items():
            table.add_row(name, filling, *(figure(one["mean"]) for both in measures.values() for one in both.values()))
    return table


def table_of_noise(found: Mapping[str, Any]) -> Table:
    """A line a noise: decisions, prototypes, contributions and maps that stay."""
    table = Table(
        "noise", "decision stays", "nearest prototype stays", "contributions", "maps", "margin", "fails early"
    )
    for name in ("none", "uniform", "gaussian"):
        own = found[name]
        maps = ", ".join(f"{key} {plain(one['correlation'])}" for key, one in own.get("maps", {}).items())
        shares = (figure(own[key]["mean"]) if key in own else "" for key in ("decision_stays", "nearest_stays"))
        order = plain(own["contributions"]) if "contributions" in own else ""
        early = figure(own["early_failure"]["mean"])
        table.add_row(f"{name} {own['size']:g}", *shares, order, maps, plain(own["margin"]), early)
    return table


def table_of_prototypes_again(found: Mapping[str, Any]) -> Table:
    """A line a way of finding prototypes again."""
    from protolens.report.robustness import WAYS

    title = (
        f"prototypes found again {found['resamples']} times, of {found['codes']:,} of {found['of']:,} training codes"
    )
    table = Table("from", "distance of partners, in spreads", "correlation over images", title=title)
    for name, way in WAYS.items():
        table.add_row(way, plain(found[name]["distance"]), plain(found[name]["correlation"]))
    return table


def plain(found: Mapping[str, Any]) -> str:
    """A mean with two decimals."""
    from protolens.report.numbers import two

    return "undefined" if found["mean"] is None else two(found["mean"])


def show_examination(run: "Run", found: Mapping[str, Any]) -> None:
    """A line a kind of illness with its first prototypes, and what to do."""
    from protolens.report.doctor import ILLNESSES, answer, looked_at

    console = _console()
    console.print(f"{run.folder}: {answer(found)} Judged by {looked_at(found)}.", highlight=False)
    table, mends = Table("illness", "prototypes", "for example"), {}
    for kind, counts in found["kinds"].items():
        own = [finding for finding in found["findings"] if finding["kind"] == kind]
        if own:
            first = max(own, key=_severity)
            example = f"{first['prototype']} ({first['class']}): {first['sentence']}"
            table.add_row(kind, str(counts["sick"]), escape(example))
            mends[kind] = first["mend"]
    if found["findings"]:
        console.print(table)
    for kind, mend in mends.items():
        console.print(escape(f"{kind}: {mend}"), highlight=False, soft_wrap=True)
    for kind, counts in found["kinds"].items():
        if counts["not_asked"]:
            console.print(f"{ILLNESSES[kind].question} Not asked: {counts['not_asked']}.", highlight=False)


def show_consequences(run: "Run", edits: "Sequence[Edit]", found: "Consequences") -> None:
    """Accuracy before and after, each class that changes, and the verdict."""
    from protolens.editing import in_words

    console = _console()
    said = in_words(edits)
    console.print(escape(f"{run.folder}: {said}."), highlight=False, soft_wrap=True)
    for table in (table_of_accuracy(found), table_of_classes(found)):
        if table.row_count:
            console.print(table)
    ways = {way: found.count(way) for way in ("mended", "broken", "other")}
    console.print(
        f"{len(found.flips):,} of {found.after.images:,} decisions change: {ways['mended']:,} are mended, "
        f"{ways['broken']:,} broken, {ways['other']:,} another mistake than before.",
        highlight=False,
    )
    console.print(found.sentence, highlight=False)


def table_of_accuracy(found: "Consequences") -> Table:
    """Before and after, side by side."""
    table, both = Table(f"{found.after.images:,} validation images", "before", "after"), (found.before, found.after)
    table.add_row("accuracy", *(figure(one.share) for one in both))
    table.add_row("95 % interval", *(" to ".join(map(figure, one.interval)) for one in both))
    if found.balanced:
        table.add_row("balanced accuracy", *map(figure, found.balanced))
    return table


def table_of_classes(found: "Consequences") -> Table:
    """A line a class of whose images some are mended or broken."""
    table = Table("class", "images", "recognised before", "after", "mended", "broken")
    for change in found.classes:
        if change.mended or change.broken:
            shares = (figure(change.before), figure(change.after))
            table.add_row(
                escape(change.name), f"{change.images:,}", *shares, f"{change.mended:,}", f"{change.broken:,}"
            )
    return table


def _severity(finding: Mapping[str, Any]) -> float:
    """How far a figure is from where health ends."""
    return abs(float(finding["figure"]) - float(finding["threshold"]))


def _show_bought(found: Mapping[str, Any]) -> None:
    """What a budget bought, where one was given."""
    if found.get("bought"):
        _console().print(escape(found["bought"]), highlight=False)


def show_export(report: Mapping[str, Any]) -> None:
    """What was written; of an ONNX file how far each output is from the model's, and on which images."""
    console = _console()
    if report["format"] == "hf":
        console.print(f"{report['folder']}: {len(report['files'])} files", highlight=False, soft_wrap=True)
        if report["license"] is None:
            console.print("the first line of its README.md asks for a license: fill it in", highlight=False)
        return
    compared, table = report["compared"], Table("output", "shape", "largest difference", "allowed")
    for name, own in report["outputs"].items():
        shape = " x ".join(map(str, own["shape"]))
        table.add_row(name, shape, f"{own['difference']:.1e}", f"{own['allowed']:.1e}")
    console.print(table)
    sizes = " and ".join(map(str, compared["batches"]))
    said = f"held against the model on {compared['images']} {compared['of']}, in batches of {sizes}"
    said += f", {compared['passed_over']} passed over that hang on rounding" if compared["passed_over"] else ""
    said += "; all of them hang on rounding" if compared["hang_on_rounding"] else ""
    said += f" ({compared['why']})" if compared["why"] else ""
    for line in (said, *(f"without {name}: {why}" for name, why in report["left_out"].items()), report["file"]):
        console.print(escape(line), highlight=False, soft_wrap=True)


def show_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A list with the keys of its first entry as its head."""
    table = Table(box=None, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, no_wrap=bool(column))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    _console().print(table)


def figure(share: float | None) -> str:
    """A share as a percentage."""
    return "undefined" if share is None else f"{100 * share:.2f} %"


def _interval(ends: Sequence[float] | None) -> str:
    return f"95 % interval {figure(ends[0])} to {figure(ends[1])}" if ends else ""


def _console() -> Console:
    # a file or a pipe has no width of its own
    return Console(width=None if sys.stdout.isatty() else 160)
