"""All tables and figures on one page that needs nothing else."""

import base64
import html as escaping
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from experiments.study.study import Section

TEMPLATE = pathlib.Path(__file__).with_name("page.html")


def html(sections: Sequence["Section"]) -> str:
    """The page, from what was written.

    Rows go into it as JSON, which the page's script makes into tables;
    figures as they are. It loads nothing from anywhere.
    """
    data = json.dumps([_section(one) for one in sections], ensure_ascii=True)
    # Within a script no text may look like the end of it, or a comment.
    data = data.replace("<", "\\u003c")
    figures = "\n".join(
        _figure(one) for one in sections if one.picture is not None
    )
    return (
        TEMPLATE.read_text("utf-8")
        .replace("<!--figures-->", figures)
        .replace("/*sections*/", data)
    )


def _section(section: "Section") -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "explanation": section.explanation,
        "preset": section.preset,
        "command": section.command,
        "of_domains": section.of_domains,
        "rows": [_row(one) for one in section.rows],
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """What a row shows; lists are one value for each seed."""
    names = (
        *("data", "group", "arm", "seeds", "wauc", "wauc_gain", "wauc_p"),
        *("macro_auc", "macro_auc_gain", "macro_auc_p", "user_auc"),
        *("logloss", "paper", "parameters", "domain_parameters", "seconds"),
        *("new_auc", "recipe", "domains"),
    )
    return {name: row.get(name) for name in names}


def _figure(section: "Section") -> str:
    assert section.picture is not None
    content = base64.b64encode(section.picture.read_bytes()).decode()
    title = escaping.escape(f"{section.title} ({section.preset})")
    return (
        f'<figure data-section="{escaping.escape(section.name)}">'
        f'<img alt="{title}" src="data:image/png;base64,{content}">'
        f"<figcaption>{title}</figcaption></figure>"
    )
