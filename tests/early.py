"""What takes its time by waiting, begun before the first test of a module, so that the others run meanwhile."""

from __future__ import annotations

import pytest


def begin_early(request: pytest.FixtureRequest, fixture: str) -> None:
    """Make a fixture of the module at once, where a test that is to run asks for it.

    Args:
        request: of a fixture of the module that all of its tests use.
        fixture: name of the one to make.
    """
    chosen = (item for item in request.session.items if isinstance(item, pytest.Function))
    if any(fixture in item.fixturenames for item in chosen if item.path == request.path):
        request.getfixturevalue(fixture)
