"""What ends a binary in one line; without Keras, which takes seconds."""


class RunError(ValueError):
    """A run that can't be made as asked: says why, and what to do."""
