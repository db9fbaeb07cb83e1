"""What mkdocs makes on the way: formulas, and the pages of tables in docs/results from the JSON beside them."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from protolens.files import read_json
from protolens.tables.writing import write_pages

FENCE = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page: what stands in ```math becomes MathML, which browsers draw without any script."""
    return FENCE.sub(lambda found: f"<p>{convert(found[1], display='block')}</p>", markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by mkdocs with all files: adds the pages that tables link to, with the styles of today."""
    for path in sorted(Path(config.docs_dir, "results").glob("*.json")):
        content = read_json(path)
        if "comparisons" not in content:
            continue
        with TemporaryDirectory() as folder:
            for name in write_pages(content, Path(folder), path.stem):
                uri = f"results/{name}"
                if known := files.get_file_from_path(uri):
                    files.remove(known)
                text = (Path(folder) / name).read_text(encoding="utf-8")
                files.append(File.generated(config, uri, content=text))
    return files
