"""All runs that a page shows, by name, and the data sets that they share."""

import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from protolens.config import to_mapping
from protolens.data import DataSet, open_data
from protolens.errors import ProtolensError, did_you_mean
from protolens.serve.exhibit import Exhibit
from protolens.serve.uploads import Uploads, shape_of
from protolens.train import Run, refuse_other_images
from protolens.train.record import FREE


class Shelf:
    """Finished runs. Raises ProtolensError where one cannot be opened, or was made with other images."""

    def __init__(self, folders: Sequence[Path | str | Run]):
        self.data: dict[str, DataSet] = {}
        self.uploads = Uploads([])
        self.exhibits: dict[str, Exhibit] = {}
        self.lock = threading.Lock()
        for folder in folders:
            self.add(Run.open(folder))

    def add(self, run: Run) -> Exhibit:
        """Put a run beside the others; one that is there already stays as it is."""
        with self.lock:
            for exhibit in self.exhibits.values():
                if exhibit.run.folder.resolve() == run.folder.resolve():
                    return exhibit
            data = self._data(run)
            exhibit = Exhibit(free_name(run.folder.resolve().name, self.exhibits), run, data, self.uploads)
            self.uploads.shapes = sorted({*self.uploads.shapes, shape_of(exhibit.task)})
            self.exhibits[exhibit.name] = exhibit
            return exhibit

    def find(self, name: str) -> Exhibit:
        """The run of that name. Raises ProtolensError for one that is not shown."""
        if name not in self.exhibits:
            raise ProtolensError(f"{name} is no run of this page{did_you_mean(name, self.exhibits)}")
        return self.exhibits[name]

    def _data(self, run: Run) -> DataSet:
        """The images of a run; runs with the same settings of their data share them."""
        settings = to_mapping(run.config.data)
        key = json.dumps({name: settings[name] for name in sorted(settings) if f"data.{name}" not in FREE})
        if key not in self.data:
            self.data[key] = open_data(run.config.data)
        refuse_other_images(run, self.data[key])
        return self.data[key]


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name of a folder, with a number behind it where another run has it."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found
