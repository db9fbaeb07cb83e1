"""What the bench says of edits is what the edited model says of the images, for every model and any list of edits."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from protolens.data import MemoryImages
from protolens.editing import Edit, Move, SwitchOff, edited_model
from protolens.editing.applying import lightly_edited, plan_of
from protolens.editing.workbench import decide, look
from protolens.models import PrototypeModel
from tests.models.test_contract import CHOICES, name_of, with_weights

CLASSES = [f"class {k}" for k in range(4)]
EDITABLE = [choice for choice in CHOICES if choice["name"] not in ("bayesian", "blackbox", "network")]
models: dict[str, tuple[PrototypeModel, Tensor | None, Tensor]] = {}  # with what its head knows, and its logits


def images(count: int = 30) -> MemoryImages:
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(256, (count, 3, 28, 28), generator=generator, dtype=torch.uint8)
    return MemoryImages("validation", pixels, torch.arange(count) % 4, [f"image {i}" for i in range(count)])


def on_the_bench(choice: dict[str, object]) -> tuple[PrototypeModel, Tensor | None, Tensor]:
    name = name_of(choice)
    if name not in models:
        model = with_weights(choice)
        models[name] = (model, *look(model, images()))
    return models[name]


@st.composite
def edit_lists(draw: st.DrawFn, model: PrototypeModel) -> list[Edit]:
    """Edits that can be done one after the other: what is off does not move afterwards, and one prototype stays."""
    class_of, off, edits = model.class_of().tolist(), set(), []
    for number in draw(st.lists(st.integers(0, len(class_of) - 1), max_size=12)):
        last = len(off | {number}) == len(class_of)
        if number in off or (not last and draw(st.booleans())):
            edits.append(SwitchOff(number))
            off.add(number)
        else:
            class_of[number] = draw(st.sampled_from([k for k in range(4) if k != class_of[number]]))
            edits.append(Move(number, CLASSES[class_of[number]]))
    return edits


@pytest.mark.parametrize("choice", EDITABLE, ids=name_of)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_bench_says_what_the_edited_model_says(choice, data):
    model, seen, _ = on_the_bench(choice)
    edits = data.draw(edit_lists(model))
    whole = edited_model(model, edits)
    expected = look(whole, images())[1]
    with torch.no_grad():
        torch.testing.assert_close(whole(images().take(torch.arange(30)) / 255), expected, atol=1e-4, rtol=1e-4)
    plan = plan_of(model, edits)
    found = decide(lightly_edited(model, plan), seen[:, torch.tensor(plan.kept)])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    best = expected.topk(2, dim=1).values
    sure = best[:, 0] - best[:, 1] > 1e-3
    assert torch.equal(found.argmax(dim=1)[sure], expected.argmax(dim=1)[sure])
