"""What the tests of tables share."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """Without pictures of what prototypes look for: they take most of the time, and tables do not show them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("protolens.evaluation.overview.PIXELS", 0)
        yield
