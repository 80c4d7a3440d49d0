"""Studies: many runs, kept once, read by every table."""
