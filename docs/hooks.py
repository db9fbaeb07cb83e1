"""Formulas for the documentation: what stands in ```math becomes MathML, which browsers draw without any script."""

import re
from typing import Any

from latex2mathml.converter import convert

FENCE = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return FENCE.sub(lambda found: f"<p>{convert(found[1], display='block')}</p>", markdown)
