"""A table of Markdown."""

from collections.abc import Iterable
from collections.abc import Sequence


def markdown_table(
    heading: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """A heading, the rule below it and the rows, without a newline at the end.

    Args:
        heading: The columns' names.
        rows: The cells of each row.

    Raises:
        ValueError: A row has not as many cells as there are columns.
    """
    lines = [row(*heading), "|---" * len(heading) + "|"]
    for cells in rows:
        if len(cells) != len(heading):
            raise ValueError(
                f"a row must have {len(heading)} cells, one for each column. "
                f"Received: heading={list(heading)}, row={list(cells)}"
            )
        lines.append(row(*cells))
    return "\n".join(lines)


def row(*cells: str) -> str:
    """A line of a table; a bar in a name would begin another cell."""
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
