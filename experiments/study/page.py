"""All tables and figures on one page that needs nothing else."""

import base64
import dataclasses
import html as escaping
import pathlib
from collections.abc import Sequence

from markdown_it import MarkdownIt

TEMPLATE = pathlib.Path(__file__).with_name("page.html")
MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclasses.dataclass(frozen=True)
class Section:
    """A file of tables, and its figure.

    Attributes:
        name: Of its file.
        title: Its heading.
        text: All below it, as Markdown.
        picture: Its figure's file, if it has one.
    """

    name: str
    title: str
    text: str
    picture: pathlib.Path | None

    @classmethod
    def read(cls, path: pathlib.Path, picture: pathlib.Path) -> "Section":
        """Reads a Markdown file whose first line is its heading.

        Args:
            path: The file.
            picture: Its figure, which needn't be there.
        """
        heading, _, text = path.read_text("utf-8").partition("\n")
        return cls(
            path.stem,
            heading.removeprefix("# "),
            text,
            picture if picture.is_file() else None,
        )


def html(sections: Sequence[Section]) -> str:
    """The page: the files' tables, which its script sorts and filters.

    It loads nothing from anywhere, and without the script all is there still.
    """
    links = "\n".join(
        f'<li><a href="#{one.name}">{MARKDOWN.renderInline(one.title)}</a></li>'
        for one in sections
    )
    return (
        TEMPLATE.read_text("utf-8")
        .replace("<!--links-->", links)
        .replace("<!--sections-->", "\n".join(map(_section, sections)))
    )


def _section(section: Section) -> str:
    figure = ""
    if section.picture is not None:
        content = base64.b64encode(section.picture.read_bytes()).decode()
        figure = (
            f'<figure><img alt="{escaping.escape(section.title)}" '
            f'src="data:image/png;base64,{content}"></figure>\n'
        )
    return (
        f'<section id="{section.name}">\n'
        f"<h2>{MARKDOWN.renderInline(section.title)}</h2>\n"
        f"{MARKDOWN.render(section.text)}{figure}</section>"
    )
