"""The verb `list`."""

import argparse
import json
from typing import Any

from protolens.errors import ProtolensError, did_you_mean


def do_list(given: argparse.Namespace) -> int:
    """The verb `list`."""
    lists = {
        "models": list_models,
        "data": list_data,
        "recipes": list_recipes,
        "metrics": list_metrics,
        "settings": list_settings,
    }
    if given.what not in lists:
        raise ProtolensError(f"{given.what} cannot be listed{did_you_mean(given.what, lists)}")
    rows = lists[given.what]()
    if given.json:
        print(json.dumps(rows))
        return 0
    from protolens.terminal import show_rows

    show_rows(rows)
    return 0


def list_models() -> list[dict[str, Any]]:
    """The settings of each model."""
    from protolens.config import settings_of
    from protolens.models import MODELS, settings_class

    rows = []
    for name in MODELS:
        for setting, kind, default, help in settings_of(settings_class(name), "model"):
            rows.append({"model": name, "setting": setting, "type": kind, "default": default, "": help})
    return rows


def list_data() -> list[dict[str, Any]]:
    """The data sets of the catalog."""
    from protolens.data import catalog

    return [{"data": name, "": description} for name, description in catalog().items()]


def list_recipes() -> list[dict[str, Any]]:
    """The recipes that come along, with the first line of each."""
    from protolens.config import RECIPES, recipe_names

    lines = {name: (RECIPES / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0] for name in recipe_names()}
    return [{"recipe": name, "": line.lstrip("# ")} for name, line in lines.items()]


def list_settings() -> list[dict[str, Any]]:
    """Every setting but those of the models."""
    from protolens.config import RunConfig, Stage, settings_of

    both = [*settings_of(RunConfig, ""), *settings_of(Stage, "stages.NAME")]
    return [{"setting": name, "type": kind, "default": default, "": help} for name, kind, default, help in both]


def list_metrics() -> list[dict[str, Any]]:
    """The metrics that say of themselves what they are, by predicate."""
    from protolens.evaluation import METRICS

    better = {1: "higher", -1: "lower", 0: "neither"}
    return [
        {
            "metric": metric.name,
            "predicate": metric.predicate,
            "better": better[metric.better],
            "range": f"{metric.low:g} to {metric.high:g}",
            "unit": metric.unit,
            "": metric.says,
        }
        for metric in METRICS.values()
    ]
