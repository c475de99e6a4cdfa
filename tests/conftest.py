"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# No test is timed: these machines are shared, and an example that takes 200 ms now and then is no fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
