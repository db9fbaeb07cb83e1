"""Templates to pages: one file each, under a policy that lets nothing in and nothing out."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

SHARED = ("numbers.js", "drawing.js", "waterfall.js")  # modules that the page of `serve` asks for as well


def render(template: str, **content: Any) -> str:
    """A page from a template, with style and script inside."""
    style, script = resource("style.css"), _bundle()
    # hashes instead of 'unsafe-inline': no style or script but ours runs, whatever a class is called
    policy = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text: str = environment().get_template(template).render(
        style=Markup(style), script=Markup(script), policy=policy, **content
    )  # fmt: skip
    return text


@cache
def environment() -> "Environment":
    """Jinja with escaping on everywhere, and an error for each name that is not there."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(lambda name: resource(f"templates/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {}  # in the order in which things are said
    return made


@cache
def _bundle() -> str:
    """The modules as one, since a page that is one file can import nothing."""
    modules = "".join(resource(name) for name in (*SHARED, "script.js"))
    return re.sub(r"^import .*\n", "", modules, flags=re.MULTILINE)


def resource(name: str) -> str:
    """A file beside the code."""
    return (resources.files("protolens.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def digest(text: str) -> str:
    """The hash by which a content security policy knows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
