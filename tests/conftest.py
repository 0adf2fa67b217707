"""For all tests: the same examples every time, or a failure would come and go with the dice."""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("RECASTER_HYPOTHESIS", "same"))
