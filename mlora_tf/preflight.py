"""Imported before all else: raises if what this package needs isn't there."""

from mlora_tf import environment

environment.require()
