"""Do explanations hold? What `robustness` measured, as a page: replaced pixels, noise, and prototypes found again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from protolens.attribution import CONTROLS
from protolens.evaluation import typed
from protolens.files import write_text
from protolens.report.about import head_of, path_of
from protolens.report.charts import ACCENT, INK, Chart, across, set_rows, to_svg
from protolens.report.comparison import TITLES
from protolens.report.numbers import counted, fixed, percent, signed, two, with_interval
from protolens.report.page import render
from protolens.report.pictures import Album, Picture
from protolens.train import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "robustness.html"
SIZE = 84  # of a picture
# maps of prototypes: in charts, where there is little room, and in sentences
SHORT = {"prp": "PRP", "self": "its own", "random": "random", "edges": "edges"}
SPOKEN = {"prp": "PRP", "self": "its own map", "random": "random pixels", "edges": "edges of the image"}
FILLINGS = {"noise": "noise", "inpaint": "what is around"}
MEASURES = {"average_drop": "average drop", "average_increase": "average increase"}
CONVENTIONS = {"remove_top": "without the half ranked first", "keep_top": "with that half alone"}
OF = {"average_drop": "of a similarity is lost", "average_increase": "of similarities rise"}
WAYS = {
    "start": "the same codes, another start",
    "sample": "other codes, the same start",
    "both": "other codes, another start",
    "random": "codes by chance, the control",
}


@dataclass(frozen=True)
class Pictured:
    """A map's row of pictures: an image by filling and convention."""

    name: str
    pictures: Sequence[Picture]


def write_robustness(run: Run, found: Mapping[str, Any]) -> Path:
    """Write RUN/robustness.html from what `robustness` found; returns its path."""
    shown, noise, again = shown_of(run, found), found["noise"], found["prototypes_again"]
    page = render(
        PAGE,
        **head_of(run),
        answer=" ".join([of_maps(found), of_decisions(noise), of_finding(again)]),
        images=counted(found["images"], "test image"),
        bought=found["bought"],
        lost=lost(found),
        charts=charts(found),
        conventions=list(CONVENTIONS.values()),
        fillings=list(FILLINGS.values()),
        measures=list(MEASURES.values()),
        drops=drop_rows(found),
        apart=difference_rows(found),
        below=below_zero(found),
        tests=len(MEASURES) * len(CONVENTIONS) * len(FILLINGS),
        without={
            part: [(name, coded(f"{why}.")) for name, why in found[part]["left_out"].items()]
            for part in ("prototypes", "noise", "prototypes_again")
        },
        titles=TITLES,
        reasons=of_reasons(noise),
        sizes=[f"uniform, up to ±{noise['uniform']['size']:g}", f"gaussian, sd {noise['gaussian']['size']:g}"],
        draws=noise["draws"],
        kept=noise_rows(noise),
        shown=shown,
        replaced=replaced_rows(found, shown),
        size=SIZE,
        again=again,
        ways=way_rows(again),
        found_again=of_partners(again),
        command=command(run, found),
    )
    path = run.folder / PAGE
    write_text(path, page)
    return path


def coded(text: str) -> Markup:
    """A sentence whose words between backticks are to be typed."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def own_maps(found: Mapping[str, Any]) -> list[str]:
    """Maps of prototypes that are no controls."""
    return [kind for kind in found["prototypes"]["maps"] if kind not in CONTROLS]


def of_maps(found: Mapping[str, Any]) -> str:
    """In how many tests a model's maps of its prototypes are better than what knows nothing."""
    own, beyond = own_maps(found), found["prototypes"]["beyond"]
    if not own:
        return "It has no map of its prototypes that could be held against chance."
    counts = {
        (kind, control): Counter(one["better"] for one in cells(beyond[kind][control]) if one["interval"])
        for kind, control in product(own, CONTROLS)
    }
    if not all(map(Counter.total, counts.values())):
        return "No test image shows a class that has a prototype: there is no similarity to lose."
    first, *others = own
    said = " and ".join(
        f"better than {SPOKEN[control]} in {counts[first, control][True]} of "
        f"{counted(counts[first, control].total(), 'test')} ({worse(counts[first, control])})"
        for control in CONTROLS
    )
    also = [
        f"{SPOKEN[kind]} in "
        + " and ".join(f"{counts[kind, control][True]} ({worse(counts[kind, control])})" for control in CONTROLS)
        for kind in others
    ]
    sentence = "; ".join([f"{SPOKEN[first]} tells where its prototypes are {said}", *also])
    return f"{sentence[0].upper()}{sentence[1:]}."


def worse(verdicts: Counter[bool | None]) -> str:
    """In how many tests a map is worse."""
    return f"worse in {verdicts[False] or 'none'}"


def cells(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures of a map by measure, then by convention: of one filling, or of both."""
    if "mean" in tree:
        return [tree]
    return [one for below in tree.values() for one in cells(below)]


def of_decisions(noise: Mapping[str, Any]) -> str:
    """What stays under the stronger noise."""
    own = noise["gaussian"]
    said = f"Under weak noise {percent(own['decision_stays']['mean'])} of its decisions stay"
    nearest = own["nearest_stays"]["mean"]
    return f"{said}." if nearest is None else f"{said}, and {percent(nearest)} of these keep their nearest prototype."


def of_finding(again: Mapping[str, Any]) -> str:
    """Whether prototypes that are found again lie nearer to their partners than chance."""
    if "both" not in again:
        return "Whether the same prototypes would be found again takes another training to tell."
    both, chance = (again[way]["distance"] for way in ("both", "random"))
    if both["mean"] is None or chance["mean"] is None:
        return "Its codes are all alike: nothing tells whether the same prototypes would be found again."
    if both["interval"][1] < chance["interval"][0]:
        word = "nearer to themselves than codes by chance"
    else:
        word = "no nearer to themselves than codes by chance"
    spreads = f"{two(both['mean'])} spreads of a class, and {two(chance['mean'])}"
    return f"Found again from other images, its prototypes lie {word}: {spreads}."


def lost(found: Mapping[str, Any]) -> str:
    """What replaced pixels cost, filled from what is around: by each of the model's maps, and by random pixels."""
    maps = {kind: found["prototypes"]["maps"][kind]["inpaint"]["average_drop"] for kind in (*own_maps(found), "random")}
    shares = {
        SPOKEN[kind]: [percent(one["mean"]) for one in drops.values()]
        for kind, drops in maps.items()
        if all(one["mean"] is not None for one in drops.values())
    }
    if len(shares) < 2:
        return ""
    (first, (without, alone)), *others = shares.items()
    said = [
        f"Without the half of its pixels that {first} ranks first, filled from what is around, an image loses "
        f"{without} of its similarity to a prototype, and with that half alone {alone}",
        *(f"by {name} {two[0]} and {two[1]}" for name, two in others),
    ]
    return f"{'; '.join(said)}."


def charts(found: Mapping[str, Any]) -> list[Chart]:
    """Drop and increase by both fillings: two dots a map, apart where the map ranks pixels as they count."""
    if not any(one["mean"] is not None for one in cells(found["prototypes"]["maps"])):
        return []
    return [dots(found, measure, filling) for measure, filling in product(MEASURES, FILLINGS)]


def dots(found: Mapping[str, Any], measure: str, filling: str) -> Chart:
    """A row a map: the figure without the half ranked first, and with it alone, with intervals."""
    maps = {kind: each[filling][measure] for kind, each in found["prototypes"]["maps"].items()}
    title = f"{MEASURES[measure].capitalize()}; pixels show {FILLINGS[filling]}"

    def draw(axes: "Axes") -> None:
        known = [one["interval"][1] for one in cells(maps) if one["interval"]]
        set_rows(axes, [SHORT[kind] for kind in maps])
        across(axes, min(1.0, max([0.01, *known]) * 1.05), OF[measure])
        for row, convention in product(range(len(maps)), CONVENTIONS):
            one = list(maps.values())[row][convention]
            first = convention == "remove_top"
            place, colour = row + (-0.16 if first else 0.16), ACCENT if first else INK
            if one["mean"] is not None:
                axes.plot([max(0.0, one["interval"][0]), one["interval"][1]], [place] * 2, color=colour, linewidth=1.5)
                inner = colour if first else "none"
                axes.plot([one["mean"]], [place], "o", color=colour, mfc=inner, markersize=7, clip_on=False)

    said = "; ".join(
        f"{SPOKEN[kind]} {percent(one['remove_top']['mean'])} and {percent(one['keep_top']['mean'])}"
        for kind, one in maps.items()
    )
    words = f"{title}, {' and '.join(CONVENTIONS.values())}: {said}"
    return Chart(title, to_svg(f"{measure}-{filling}", draw), words, ())


def drop_rows(found: Mapping[str, Any]) -> list[tuple[str, str, list[dict[str, str]]]]:
    """Map, filling, and drop and increase by both conventions with intervals."""
    return [
        (TITLES[kind], FILLINGS[filling], [with_interval(one["mean"], one["interval"], percent) for one in cells(each)])
        for kind, fillings in found["prototypes"]["maps"].items()
        for filling, each in fillings.items()
    ]


def difference_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, list[dict[str, Any]]]]:
    """Map, control, filling, and the differences with intervals and what they say."""
    return [
        (
            TITLES[kind],
            TITLES[control],
            FILLINGS[filling],
            [{**with_interval(one["mean"], one["interval"], points), "better": one["better"]} for one in cells(each)],
        )
        for kind, controls in found["prototypes"]["beyond"].items()
        for control, fillings in controls.items()
        for filling, each in fillings.items()
    ]


def points(share: float) -> str:
    """A difference of shares in percentage points, signed."""
    return signed(100 * share, 1)


def below_zero(found: Mapping[str, Any]) -> str:
    """How many similarities could not drop, being zero or less; empty where there are none."""
    own = found["prototypes"]
    if own["positive"] is None or own["positive"] == 1:
        return ""
    return (
        f"Of {counted(own['pairs'], 'pair')} of an image and a prototype of its class, {percent(1 - own['positive'])} "
        "have a similarity of zero or less: it can rise, and has no drop."
    )


def of_reasons(noise: Mapping[str, Any]) -> str:
    """What stays of reasons under the stronger noise, where the decision does."""
    own, said = noise["gaussian"], []
    if own["contributions"]["mean"] is not None:
        said.append(f"the order of what prototypes add correlates by {two(own['contributions']['mean'])}")
    mine, edges = (own["maps"].get(name, {"correlation": {"mean": None}})["correlation"] for name in ("self", "edges"))
    if mine["mean"] is not None:
        said.append(f"its own map correlates by {two(mine['mean'])}, edges of the image by {plain(edges['mean'])}")
    sentence = f"Where a decision stays, {' and '.join(said)} (1: the same order)." if said else ""
    early = own["early_failure"]["mean"]
    if early is not None:
        failing = f"{percent(early)} of what it recognises is then nearer to a prototype of another class."
        sentence = " ".join(filter(None, [sentence, failing]))
    return sentence


def plain(value: float | None) -> str:
    """With two decimals, where it is defined."""
    return "an undefined number" if value is None else two(value)


# key, name, what it means with its unit, and how it is written
KEPT = (
    ("decision_stays", "decision stays", "share of the images that are given the same class or classes", percent),
    ("nearest_stays", "most similar prototype stays", "share of the decisions that stay", percent),
    ("contributions", "order of what prototypes add", "to the class; rank correlation, 0 by chance", two),
    ("similarities", "order of similarities", "of all prototypes; rank correlation, 0 by chance", two),
    ("margin", "margin", "how much nearer the nearest prototype of its class is than any other, 1 to −1; below 0 a "
     "stranger is nearer", two),
    ("early_failure", "reason fails early", "share of the recognised images that are nearer to a prototype of another "
     "class: the reason has failed, the answer not yet", percent),
)  # fmt: skip


def noise_rows(noise: Mapping[str, Any]) -> list[tuple[str, str, list[dict[str, str]]]]:
    """Name, meaning, and the figure without noise and with each, with intervals; maps last."""
    kinds = [noise[name] for name in ("none", "uniform", "gaussian")]
    rows = [
        (name, about, [cell(kind.get(key), write) for kind in kinds])
        for key, name, about, write in KEPT
        if any(kind[key]["mean"] is not None for kind in kinds if key in kind)
    ]
    top = f"share of its highest {100 * noise['kept']:g} % of the pixels that stay among them"
    measures = (
        ("correlation", "rank correlation of its pixels, 0 by chance", two),
        ("overlap", f"{top}, {100 * noise['kept']:g} % by chance", percent),
    )
    for name in noise["gaussian"]["maps"]:
        for key, about, write in measures:
            entries = [kind["maps"][name][key] if "maps" in kind else None for kind in kinds]
            rows.append((f"map: {TITLES[name]}", about, [cell(one, write) for one in entries]))
    return rows


def cell(one: Mapping[str, Any] | None, write: Any) -> dict[str, str]:
    """A figure with its interval; nothing where it is not asked."""
    return {"text": "", "interval": ""} if one is None else with_interval(one["mean"], one["interval"], write)


def way_rows(again: Mapping[str, Any]) -> list[tuple[str, list[dict[str, str]]]]:
    """Ways of finding prototypes again, with distance and correlation of partners."""
    if "both" not in again:
        return []
    ways = dict(WAYS)
    if again["codes"] < again["of"]:
        ways["run"] = "the run’s own, of all codes"
    return [
        (words, [cell(again[way][key], lambda value: fixed(value, 3)) for key in ("distance", "correlation")])
        for way, words in ways.items()
    ]


def of_partners(again: Mapping[str, Any]) -> str:
    """How alike partners look at images."""
    if "both" not in again or again["both"]["correlation"]["mean"] is None:
        return ""
    both, chance = (again[way]["correlation"]["mean"] for way in ("both", "random"))
    return (
        f"From other images and another start, prototypes and their partners order validation images alike by "
        f"{two(both)} (1: the same order); codes by chance do so by {plain(chance)}."
    )


def shown_of(run: Run, found: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures by name, of which image, and of which prototype."""
    album, own = Album(run.folder), found["shown"]
    mend = f"`protolens evaluate {path_of(run.folder)} --robustness` makes it anew"
    pictures = {key: album.open(name, mend) for key, name in own["pictures"].items()}
    return {**own, "pictures": pictures}


def replaced_rows(found: Mapping[str, Any], shown: Mapping[str, Any]) -> list[Pictured]:
    """An image without half of its pixels by each map; none where no prototype is asked."""
    if shown["prototype"] is None:
        return []
    return [
        Pictured(
            TITLES[kind],
            [
                shown["pictures"][f"{kind} {filling} {convention}"]
                for filling, convention in product(FILLINGS, CONVENTIONS)
            ],
        )
        for kind in found["prototypes"]["maps"]
    ]


def command(run: Run, found: Mapping[str, Any]) -> str:
    """What to type to get the same."""
    words = ["protolens evaluate", path_of(run.folder), "--robustness", "--images", str(found["forecast"]["wanted"])]
    words += ["--seed", str(found["seed"])]
    return " ".join([*words, "--budget", typed(found["budget"])] if found["budget"] else words)
