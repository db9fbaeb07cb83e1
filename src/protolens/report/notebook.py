"""Pages in a notebook: the same that lie in run folders, shown below a cell."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from protolens.errors import ProtolensError

HEIGHT = 640  # pixels


@dataclass(frozen=True)
class Shown:
    """A page that a notebook draws. content: its HTML; height: of the frame, in pixels."""

    content: str
    height: int = HEIGHT

    def _repr_html_(self) -> str:
        """A frame of its own, so that neither styles nor scripts of the notebook reach it, nor the other way round."""
        frame = f'width="100%" height="{self.height}" style="border: 0" sandbox="allow-scripts allow-downloads"'
        return f'<iframe title="protolens" {frame} srcdoc="{escape(self.content)}"></iframe>'


def show(page: Path | str, height: int = HEIGHT) -> Shown:
    """A page for a notebook's cell: a file that protolens has written, or a run's folder for its report.

    height: of the frame, in pixels. Raises ProtolensError where there is no such page.
    """
    path = Path(page)
    path = path / "report.html" if path.is_dir() else path
    if path.suffix != ".html" or not path.exists():
        raise ProtolensError(
            f"{path} is no page; name report.html, explanations.html or another that lies beside a run"
        )
    return Shown(path.read_text(encoding="utf-8"), height)
