"""Imported before all else: raises if what this package needs isn't there."""

import os

from mlora_tf import environment
from mlora_tf import quiet

environment.require()
# A library leaves stderr alone, unless its user wants no warnings; of a doctor
# its own lines are what is asked for.
QUIET = ("2", "3")
if environment.is_doctor() or os.environ.get("TF_CPP_MIN_LOG_LEVEL") in QUIET:
    quiet.import_tensorflow()
