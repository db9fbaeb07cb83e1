"""Words become settings, and the verbs are all there."""

import pytest

from protolens.errors import ProtolensError
from protolens.words import dotted_settings, make_parser


def test_each_verb_has_words_and_a_line_of_help():
    parser = make_parser()
    verbs = [
        "demo",
        "fit",
        "convert",
        "evaluate",
        "compare",
        "doctor",
        "edit",
        "table",
        "explain",
        "export",
        "serve",
        "list",
    ]
    assert list(parser.verbs) == verbs
    assert all(verb.description for verb in parser.verbs.values())


def test_dotted_words_become_nested_tables_and_the_others_stay():
    plain, tables = dotted_settings(["fit", "--data.size", "32", "x", "--stages.train.rates.all=1e-3", "--resume"])
    assert plain == ["fit", "x", "--resume"]
    assert tables == {"data": {"size": "32"}, "stages": {"train": {"rates": {"all": "1e-3"}}}}


@pytest.mark.parametrize("words", [["--data.size"], ["--data.size", "--resume"], ["--data.size="]])
def test_a_setting_without_a_value_is_one_sentence(words):
    with pytest.raises(ProtolensError, match=r"--data\.size needs a value behind it"):
        dotted_settings(words)
