"""The documents' pages: their blocks of code, and how they are run."""

import contextlib
import dataclasses
import io
import pathlib
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import pytest
from absl import app
from absl import flags

from tests import own_flags

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
COOKBOOK = sorted(path.name for path in (DOCS / "cookbook").glob("*.md"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
OURS = re.compile(r"^(?:\S*/)?python3? -m ((?:experiments|data_prep)\.[\w.]+)")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        kind: What follows the fence, such as "python".
        text: Its lines.
        line: The first one's number in its file.
    """

    kind: str
    text: str
    line: int


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line of ours.

    Args:
        module: What `python -m` runs.
        arguments: Its flags.
    """

    module: str
    arguments: tuple[str, ...]


def blocks(path: pathlib.Path) -> list[Block]:
    """A page's blocks, in order."""
    text = path.read_text("utf-8")
    found = [
        Block(one[1], one[2], text.count("\n", 0, one.start(2)) + 1)
        for one in FENCE.finditer(text)
    ]
    # One that is indented, or never closed, would be passed over in silence.
    assert text.count("```") == 2 * len(found), path
    return found


def lines(block: Block) -> list[str]:
    """A block's command lines, whole and without comments."""
    whole = block.text.replace("\\\n", " ").splitlines()
    kept = [line.strip() for line in whole if not line.startswith("#")]
    return [line for line in kept if line]


def commands(line: str) -> list[Command]:
    """The commands of ours in a line, as a shell would run them."""
    found = []
    for part in re.split(r" && | \| ", line):
        words = shlex.split(part)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0], re.S):
            words.pop(0)
        ours = OURS.match(" ".join(words[:3]))
        if ours:
            found.append(Command(ours[1], tuple(words[3:])))
    return found


def run_python(block: Block, path: pathlib.Path, names: dict[str, Any]) -> str:
    """Runs a block and returns what it prints; errors have the page's lines."""
    code = compile("\n" * (block.line - 1) + block.text, str(path), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def check(command: Command) -> None:
    """Parses a command's flags as its binary does, and runs nothing."""
    with _binary(command, run=False):
        pass


def run(command: Command, more: tuple[str, ...] = ()) -> None:
    """Runs a command in this process, in the current folder."""
    more = tuple(
        one for one in more if one.split("=")[0] not in _names(command)
    )
    whole = Command(command.module, (*command.arguments, *more))
    with _binary(whole, run=True):
        pass


def _names(command: Command) -> set[str]:
    return {argument.split("=")[0] for argument in command.arguments}


@contextlib.contextmanager
def _binary(command: Command, *, run: bool) -> Iterator[None]:
    """Within it, a binary has been given its flags, and maybe been run."""

    def start(main: Any, **options: Any) -> None:
        values = flags.FLAGS
        left = values(["it", *command.arguments])
        assert left == ["it"], f"{left[1:]} of {command} are no flags"
        if run:
            main(left)

    values = flags.FlagValues()
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # runpy says that a module which tests import is there already.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        patch.setattr(flags, "FLAGS", values)
        patch.setattr(app, "run", start)
        patch.setattr(sys, "argv", ["it"])
        for kind in own_flags.KINDS:
            function = getattr(flags, f"DEFINE_{kind}")

            def into(*args: Any, function: Any = function, **options: Any):
                return function(*args, flag_values=values, **options)

            patch.setattr(flags, f"DEFINE_{kind}", into)
        import runpy

        try:
            runpy.run_module(command.module, run_name="__main__")
        finally:
            signal.signal(signal.SIGTERM, handler)
        yield


def tables(text: str) -> Mapping[str, list[str]]:
    """By file of results, the rows of the tables that a page quotes.

    A quoted table stands between `<!-- <file>:begin -->` and
    `<!-- <file>:end -->`.
    """
    found: dict[str, list[str]] = {}
    pattern = r"<!-- (\w+\.md):begin -->\n(.*?)<!-- \1:end -->"
    quoted = re.findall(pattern, text, re.S)
    begun = re.findall(r"^<!-- \w+\.md:begin -->$", text, re.M)
    assert len(quoted) == len(begun), "a table has no end"
    for name, inside in quoted:
        rows = [row for row in inside.splitlines() if row.startswith("|")]
        found.setdefault(name, []).extend(rows)
    return found
