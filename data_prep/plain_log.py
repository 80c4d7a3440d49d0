"""Log lines as people read them: without times, process and file."""

import logging as python_logging

from absl import logging


class Formatter(python_logging.Formatter):
    """The message alone; of warnings and worse the level goes before it."""

    def format(self, record: python_logging.LogRecord) -> str:
        """Returns the record's line."""
        line = super().format(record)
        if record.levelno < python_logging.WARNING:
            return line
        return f"{record.levelname.lower()}: {line}"


def use() -> None:
    """Has absl, which `app.run` gives the root logger to, write such lines."""
    logging.get_absl_handler().setFormatter(Formatter())
