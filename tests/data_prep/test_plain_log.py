import logging

import pytest
from absl import logging as absl_logging

from data_prep import plain_log


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "Wrote 3 rows"),
        (logging.WARNING, "warning: Wrote 3 rows"),
        (logging.ERROR, "error: Wrote 3 rows"),
    ],
)
def test_a_line_is_the_message(level, line):
    handler = absl_logging.get_absl_handler()
    before = handler.python_handler.formatter
    plain_log.use()
    try:
        record = logging.LogRecord(
            "any", level, "file.py", 1, "Wrote %d rows", (3,), None
        )
        assert handler.format(record) == line
    finally:
        handler.setFormatter(before)
