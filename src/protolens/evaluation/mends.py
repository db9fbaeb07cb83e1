"""What to type, or to do, about a sick prototype: one mend a kind of illness and model, with this tool as it is.

Each makes another run beside this one, from its config.toml or by `convert`; what it is worth, `compare` says.
"""

import shlex
from collections.abc import Mapping

from protolens.train import Run

NUMBERS = {"prototypedl": "prototypes", "flint": "prototypes", "concepts": "concepts"}  # settings that count them
OF_CLASSES = ("protopnet", "protovae", "pantypes", "kmex")  # those with model.per_class
OF_LAST_LAYER = ("blackbox", "network", "bayesian")
HEADS = ("protopnet", "protovae", "pantypes", "prototypedl", "flint")  # with weights that learn


def mends_of(run: Run, sick: Mapping[str, int]) -> dict[str, str]:
    """A sentence for each kind of illness. sick: how many prototypes have it."""
    return {kind: MENDS[kind](run, number) for kind, number in sick.items()}


def again(run: Run, *settings: str) -> str:
    """The command that makes the run again with other settings."""
    folder = shlex.quote(str(run.folder))
    return f"`{' '.join(['protolens fit', f'{folder}/config.toml', *settings])} --out {folder}-mended`"


def converted(run: Run) -> str:
    """The command that lets the network of a run decide by its nearest prototype."""
    folder = shlex.quote(str(run.folder))
    to = " --to concepts" if run.facts["data"].get("several") else ""
    return f"`protolens convert {folder}{to} --out {folder}-converted`"


def change_of_number(run: Run, change: int) -> str:
    """The setting of so many prototypes more, or fewer; of each class alike where classes have their own."""
    model, whole = run.config.model, len(run.prototypes)
    name = str(model["name"])
    if name in NUMBERS:
        return f"--model.{NUMBERS[name]} {max(1, whole + change)}"
    per_class = model["per_class"]
    if isinstance(per_class, int):
        return f"--model.per_class {changed(per_class, change / whole)}"
    return f"--model.per_class '[{', '.join(str(changed(number, change / whole)) for number in per_class)}]'"


def changed(number: int, share: float) -> int:
    """A number by a share of it more or less, but by 1 at least, and 1 or more."""
    step = max(1, round(abs(share) * number))
    return max(1, number + step if share > 0 else number - step)


def other_network(run: Run) -> str:
    """What is left where prototypes are the rows of a last layer: as many as classes, and no others."""
    return f"Its prototypes are its last layer's rows, one a class; find others in its codes with {converted(run)}"


def of_duplicates(run: Run, sick: int) -> str:
    """Fewer prototypes, or no two on one patch."""
    name = str(run.config.model["name"])
    if name in OF_LAST_LAYER:
        return other_network(run)
    projecting = [
        stage["name"]
        for stage in run.facts["stages"]
        if "project" in stage["then"] and not stage["then"]["project"].get("distinct", False)
    ]
    if projecting:
        # config.toml holds the stages as they were, so that model.distinct alone would change nothing
        settings = [f"--stages.{stage}.then.project.distinct 1" for stage in projecting]
        return f"Keep two from being projected onto one patch: {again(run, *settings)}"
    return f"Ask for fewer prototypes: {again(run, change_of_number(run, -max(1, sick // 2)))}"


def of_unused(run: Run, sick: int) -> str:
    """Elimination at the end, where the model can lose prototypes."""
    name = str(run.config.model["name"])
    if name in OF_LAST_LAYER:
        balanced = again(run, "--train.class_weights balanced")
        return f"Its class is never said; let rare classes count more: {balanced}"
    if name in ("kmex", "concepts", "protopnet"):  # elimination counts the patch that a prototype was taken from
        return f"Ask for fewer prototypes: {again(run, change_of_number(run, -sick))}"
    last = run.facts["stages"][-1]["name"]
    setting = f"--stages.{last}.then.eliminate '{{}}'"
    return f"Drop it at the end of training: {again(run, setting)}"


def of_strangers(run: Run, sick: int) -> str:
    """What holds prototypes to codes."""
    name = str(run.config.model["name"])
    if name in OF_LAST_LAYER:
        return other_network(run)
    if name in ("protovae", "pantypes"):
        return f"Hold it by a divergence without gradient into its shares: {again(run, '--model.detach_shares true')}"
    if name == "prototypedl":
        stage = run.facts["stages"][-1]
        weight = 10 * (stage["weights"].get("prototype_coverage") or 1)
        setting = f"--stages.{stage['name']}.weights.prototype_coverage {weight:g}"
        return f"Pull prototypes to codes with ten times the weight: {again(run, setting)}"
    if name == "protopnet":
        setting = f"--stages.{run.facts['stages'][-1]['name']}.then.project '{{}}'"
        return f"Project onto training patches at the end: {again(run, setting)}"
    return f"Ask for more centres, each nearer to its codes: {again(run, change_of_number(run, sick))}"


def of_mixed(run: Run, sick: int) -> str:
    """More prototypes, or none with a mixed neighbourhood."""
    name = str(run.config.model["name"])
    if name in OF_LAST_LAYER:
        return other_network(run)
    if name == "protopnet" and not run.config.model["prune"]:
        return f"Drop prototypes with a mixed neighbourhood: {again(run, '--model.prune true')}"
    return f"Ask for more prototypes, so that each stands for less: {again(run, change_of_number(run, sick))}"


def of_wrong_signs(run: Run, sick: int) -> str:
    """A head without weights, else other centres."""
    name = str(run.config.model["name"])
    several = run.facts["data"].get("several")
    if name in OF_LAST_LAYER or (name in HEADS and not several):
        return f"Let its codes decide by the nearest prototype, without weights: {converted(run)}"
    return f"Ask for more prototypes, so that each stands for less: {again(run, change_of_number(run, sick))}"


def of_background(run: Run, sick: int) -> str:  # noqa: ARG001  as the others
    """Images without background, or with it elsewhere each time."""
    if run.config.data.name == "cub:whole":
        return f"Cut the birds to their boxes: {again(run, '--data.name cub')}"
    if run.config.data.augment.shift < 0.2:
        moved = again(run, "--data.augment.shift 0.2", "--data.augment.scale 0.2")
        return f"Move and scale what is shown in training, or cut images to it: {moved}"
    return "Cut the images to what they show, and train again with --data folder:PATH"


MENDS = {
    "duplicate": of_duplicates,
    "never-used": of_unused,
    "out-of-distribution": of_strangers,
    "class-mixed": of_mixed,
    "wrong-signed": of_wrong_signs,
    "background": of_background,
}
