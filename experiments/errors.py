"""What ends a binary in one line; without Keras, which takes seconds."""


class RunError(ValueError):
    """A run that can't be made as asked: says why, and what to do."""


def first_line(error: Exception) -> str:
    """What an error says first; its type, if it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
