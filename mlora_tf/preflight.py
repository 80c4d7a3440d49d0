"""Imported before all else: raises if what this package needs isn't there."""

from mlora_tf import environment
from mlora_tf import quiet

environment.require()
# Its own lines are what a doctor is asked for; a library leaves stderr alone.
if environment.is_doctor():
    quiet.import_tensorflow()
