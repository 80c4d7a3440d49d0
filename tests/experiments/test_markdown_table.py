"""Markdown tables as a reader of Markdown sees them."""

import pytest
from markdown_it import MarkdownIt

from experiments.markdown_table import markdown_table
from experiments.markdown_table import row


def test_a_table_has_a_rule_for_each_column():
    assert markdown_table(("a", "", "b"), [("1", "2", "3")]) == (
        "| a |  | b |\n|---|---|---|\n| 1 | 2 | 3 |"
    )
    assert markdown_table(["a"], []) == "| a |\n|---|"


def test_a_bar_in_a_name_begins_no_cell():
    assert row("home|garden", "b") == r"| home\|garden | b |"
    page = MarkdownIt("commonmark").enable("table")
    table = markdown_table(("home|garden", "b"), [])
    assert "<th>home|garden</th>" in page.render(table)


@pytest.mark.parametrize("cells", [("1",), ("1", "2", "3")])
def test_a_row_has_a_cell_for_each_column(cells):
    with pytest.raises(ValueError, match=r"must have 2 cells.*row=\['1'"):
        markdown_table(("a", "b"), [("1", "2"), cells])
