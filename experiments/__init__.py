"""Experiments: absl binaries over mlora_tf, run from a checkout."""
