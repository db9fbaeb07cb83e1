"""The bar on the terminal."""

import io
import threading

import pytest

from protolens.data import progress as module
from protolens.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "patience"), [(Terminal(), 0.0), (Terminal(), 60.0), (io.StringIO(), 0.0)])
def test_a_bar_stands_on_a_terminal_once_patience_ends_and_the_items_pass_unchanged(monkeypatch, stream, patience):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(module, "PATIENCE", patience)
    assert list(progress(iter("abc"), 3, "reading images")) == ["a", "b", "c"]
    assert ("reading images" in stream.getvalue()) == (stream.isatty() and patience == 0)


def test_the_bar_stops_when_reading_fails(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    before, bar = set(threading.enumerate()), set()

    def fails():
        yield from "ab"
        bar.update(set(threading.enumerate()) - before)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(progress(fails(), 3, "reading images"))
    (thread,) = bar  # which refreshes the bar
    thread.join(timeout=10)
    assert not thread.is_alive()
