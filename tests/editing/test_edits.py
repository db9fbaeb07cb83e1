"""Edits as files hold them, as people read them, and what cannot be done."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protolens.editing import Forbid, Move, SwitchOff, edit_from, edit_to_dict, edited_model, in_words
from protolens.errors import ProtolensError
from tests.models.test_contract import make

numbers = st.integers(0, 999)
every_edit = st.one_of(
    st.builds(SwitchOff, numbers),
    st.builds(Move, numbers, st.text(max_size=9)),
    st.builds(Forbid, st.tuples(numbers, numbers, numbers, numbers)),
)


@given(every_edit)
def test_an_edit_is_read_as_it_was_written(edit):
    entry = edit_to_dict(edit)
    assert edit_from(entry) == edit
    assert entry["kind"] in ("off", "move", "forbid")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (3, "3 is no edit; one has a kind: off, move or forbid"),
        ({"prototype": 3}, r"\{'prototype': 3\} is no edit"),
        ({"kind": "of", "prototype": 3}, r"of is no kind of edit; did you mean off\?"),
        ({"kind": "off"}, "the edit off lacks prototype; it says prototype"),
        ({"kind": "move", "prototype": 3}, "the edit move lacks to; it says prototype and to"),
        ({"kind": "off", "prototype": "3"}, "'3' is no number of a prototype"),
        ({"kind": "off", "prototype": True}, "True is no number of a prototype"),
        ({"kind": "off", "prototype": 3, "two": 3}, "the edit off has no two; known are prototype"),
        ({"kind": "move", "prototype": 3, "to": 4}, "4 is no name of a class"),
        ({"kind": "forbid", "box": [0, 0, 3]}, r"\[0, 0, 3\] is no box; write left, top, right and bottom"),
        ({"kind": "forbid", "box": [0, 0, 3.5, 4]}, "is no box"),
        ({"kind": "forbid", "box": "0034"}, "'0034' is no box"),
    ],
)
def test_what_is_no_edit_is_one_sentence(entry, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        edit_from(entry)


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ([SwitchOff(15)], "15 is not a prototype; this model has those from 0 to 14"),
        ([SwitchOff(-1)], "-1 is not a prototype"),
        ([Move(0, "class 7")], "class 7 is not a class of this model; did you mean class"),
        ([SwitchOff(3), Move(3, "class 1")], "prototype 3 is switched off, so it cannot speak for class 1"),
        ([SwitchOff(number) for number in range(15)], "all prototypes are switched off; a model needs one at least"),
        ([Forbid((0, 0, 29, 4))], "0,0,29,4 is no region of images of 28 x 28 pixels"),
        ([Forbid((3, 3, 3, 4))], "3,3,3,4 is no region"),
        ([Forbid((0, 0, 2, 2))], "what takes the place of a forbidden region is not known; give fill"),
    ],
)
def test_an_edit_that_cannot_be_done_is_one_sentence(edits, sentence):
    with pytest.raises(ProtolensError, match=sentence):
        edited_model(make({"name": "prototypedl"}), edits)


def test_a_prototype_cannot_move_to_the_class_that_it_speaks_for_but_back_and_then_off():
    model = make({"name": "protopnet", "per_class": 2, "features": 16})
    with pytest.raises(ProtolensError, match="prototype 3 speaks for class 1 already; name another class"):
        edited_model(model, [Move(3, "class 1")])
    back = edited_model(model, [Move(3, "class 2"), Move(3, "class 1")])
    assert torch.equal(back.prototype_weights(), model.prototype_weights())
    assert back.class_of().tolist() == model.class_of().tolist()
    gone = edited_model(model, [Move(3, "class 2"), SwitchOff(3), SwitchOff(3)])
    assert gone.class_of().tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_a_region_joins_those_that_were_hidden_before_and_keeps_their_filling():
    model = make({"name": "blackbox", "hide": [[0, 0, 2, 2]]})
    model.hidden.fill.fill_(0.3)
    twice = edited_model(model, [Forbid((4, 4, 8, 8)), Forbid((0, 0, 2, 2))])
    assert twice.settings.hide == ((0, 0, 2, 2), (4, 4, 8, 8))
    assert (~twice.hidden.visible).sum() == 4 + 16
    assert torch.equal(twice.hidden.fill, model.hidden.fill)
    assert model.settings.hide == ((0, 0, 2, 2),)


def test_edits_read_as_a_sentence():
    edits = [SwitchOff(3), Move(4, "nine"), SwitchOff(7), SwitchOff(3), Forbid((0, 0, 28, 4))]
    said = "prototypes 3 and 7 are switched off; prototype 4 speaks for nine; columns 0 to 27, rows 0 to 3, "
    assert in_words(edits) == said + "are not shown"
    assert in_words([Forbid((5, 6, 6, 7))]) == "column 5, row 6, are not shown"
    assert in_words([SwitchOff(3)]) == "prototype 3 is switched off"
    assert in_words([]) == "nothing is changed"
