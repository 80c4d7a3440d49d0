"""The report: all tables from a log, and a page that a browser draws."""

import base64
import dataclasses
import html.parser
import json
import shutil
import subprocess

import pytest

from experiments import mlora_table2
from experiments import report
from experiments import star_figure7
from experiments.errors import RunError
from experiments.study import coverage
from experiments.study import page
from experiments.study.data_set import DataSet
from experiments.study.run_log import RunLog
from tests import own_flags

SETS = (
    DataSet("data/ml1m-gender", "a" * 64, ("F", "M")),
    DataSet("data/three <shops>", "b" * 64, ("x", "y", "z")),
)
BROWSER = next(
    filter(
        None,
        map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    ),
    None,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results, of a log that nobody trained."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def written(results, fake_log):
    if not (results / "report.html").is_file():
        for data in SETS:
            arms = mlora_table2.STUDY.arms(data, "tuned")[:6]
            fake_log(results / "runs.jsonl", arms, seeds=3)
        with own_flags.given(report.define_flags, f"--output={results}"):
            report.main()
    return results


def test_every_table_with_a_comparison_is_written(written):
    names = {path.stem for path in written.glob("*.md")}
    # No run is of STAR's, or of another width or temperature; of the towers
    # one is.
    assert names == {
        *("mlora_table2", "mlora_table3", "mlora_table4"),
        *("mlora_controls", "towers", "lazy_adam"),
        "coverage",
    }
    text = (written / "mlora_table2.md").read_text()
    assert "data/ml1m-gender,data/three <shops>" in text
    assert (written / "mlora_table3.png").is_file()


def test_what_has_run_and_what_has_not_is_a_table_too(tmp_path, fake_log):
    study = mlora_table2.STUDY
    mlp, deepfm = (
        [arm for arm in study.arms(SETS[0], "tuned") if arm.group == group]
        for group in ("mlp", "deepfm")
    )
    path = tmp_path / "runs.jsonl"
    fake_log(path, mlp, seeds=2)
    # A joint run that has no base yet compares with nothing.
    fake_log(path, deepfm[1:2], seeds=1)
    text = coverage.markdown(RunLog(path), [study, star_figure7.STUDY])
    lines = text.splitlines()[-2:]
    wide = "wide_deep, nfm, autoint, pnn, dcn, fibinet, deepfm, xdeepfm, star"
    assert lines == [
        "|---|---|---|---|---|---|",
        f"| mlora_table2 | tuned | ml1m-gender | 3 of 30 | 2 | {wide} |",
    ]
    # With its base it does; one of three seeds is compared alone.
    fake_log(path, deepfm[:1], seeds=3)
    study = dataclasses.replace(study, data=("data/three <shops>",))
    fake_log(path, study.arms(SETS[1], "tuned")[1:2], seeds=1)
    text = coverage.markdown(RunLog(path), [study])
    models = "mlp, wide_deep, nfm, autoint, pnn, dcn, fibinet, deepfm, xdeepfm"
    wide = wide.replace(" deepfm,", "")
    start = "| mlora_table2 | tuned |"
    assert text.splitlines()[-2:] == [
        f"{start} ml1m-gender | 6 of 30 | 1 to 3 | {wide} |",
        f"{start} three <shops> | 0 of 30 |  | {models}, star |",
    ]


def test_a_table_says_who_wrote_it_and_what_trains_the_rest(written):
    text = " ".join((written / "mlora_table2.md").read_text().split())
    assert "Written by `python -m experiments.report`, of the runs" in text
    assert "--seeds=3 --preset=tuned` trains those that it lacks." in text


def test_the_page_has_every_table_as_it_is_written(written):
    """Without a browser: nothing of it waits for a script."""
    shown = Page((written / "report.html").read_text()).tables
    paths = sorted(written.glob("*.md"))
    assert sum(map(len, shown.values())) > len(paths)
    assert set(shown) == {path.stem for path in paths}
    for path in paths:
        assert shown[path.stem] == tables_of(path.read_text())
    domains = shown["mlora_table3"]
    # Every model's, then their means.
    names = [list(data.domains) for data in SETS]
    assert [table[0][4:] for table in domains] == [
        *(["WAUC", *some] for some in names),
        *names,
    ]


def test_other_commands_tables_are_there_with_their_figures(written, tmp_path):
    (tmp_path / "runs.jsonl").write_text((written / "runs.jsonl").read_text())
    picture = (written / "mlora_table3.png").read_bytes()
    (tmp_path / "growth.png").write_bytes(picture)
    (tmp_path / "speed.md").write_text("# Speed\n\n| a |\n|---|\n| **b** |\n")
    with own_flags.given(report.define_flags, f"--output={tmp_path}"):
        report.main()
    text = (tmp_path / "report.html").read_text()
    assert Page(text).tables["speed"] == [[["a"], ["b"]]]
    of_speed = text.split('<section id="speed">')[1]
    assert of_speed.count(base64.b64encode(picture).decode()) == 1


def test_another_presets_table_says_so_in_its_heading(tmp_path, fake_log):
    study = mlora_table2.STUDY
    arms = study.arms(SETS[0], "paper")[:3]
    path = study.write(fake_log(tmp_path / "runs.jsonl", arms, 1), "paper")
    assert path.name == "mlora_table2_paper.md"
    assert path.read_text().startswith(f"# {study.title} (paper)\n")


def test_bases_that_machines_rounded_differently_are_named(
    written, tmp_path, capsys
):
    """Two runs with one base, of which the second one's is another."""
    lines = (written / "runs.jsonl").read_text().splitlines()
    runs_of = [json.loads(line) for line in lines]
    (first, *_) = [
        one for one in runs_of if one["recipe"]["schedule"] == "two_phase"
    ]
    other = json.loads(json.dumps(first))
    other["recipe"]["temperature"] *= 2
    path = tmp_path / "runs.jsonl"
    path.write_text("\n".join([*lines, json.dumps(other)]) + "\n")
    assert RunLog(path).differing == []
    other["phases"][0]["test"]["wauc"] += 1e-6
    path.write_text("\n".join([*lines, json.dumps(other)]) + "\n")
    ((one, same),) = RunLog(path).differing
    with own_flags.given(report.define_flags, f"--output={tmp_path}"):
        report.main()
    said = " ".join(capsys.readouterr().err.split())
    assert f"have one recipe and seed and differ: {one}, {same}." in said


def test_a_log_without_runs_is_an_error(tmp_path):
    with (
        own_flags.given(report.define_flags, f"--output={tmp_path}"),
        pytest.raises(RunError, match="no runs: train some"),
    ):
        report.main()


class Links(html.parser.HTMLParser):
    """All that a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset", "data")
        ]


def test_the_page_loads_nothing(written):
    text = (written / "report.html").read_text()
    links = Links()
    links.feed(text)
    assert links.found
    assert all(
        link.startswith(("data:image/png;base64,", "#")) for link in links.found
    )
    assert "http" not in text.split("<script")[-1]


def test_text_from_runs_is_no_markup():
    bad = "</script><script>alert(1)</script>"
    section = page.Section("x", bad, f"{bad}\n\n| {bad} |\n|---|\n", None)
    text = page.html([section])
    assert text.count("</script>") == 1
    assert text.count("&lt;script&gt;alert(1)") == 4  # a link, too


def plain(line):
    """A line without what makes it bold, or code."""
    return line.replace("**", "").replace("`", "")


def tables_of(markdown):
    """The tables of a Markdown file, cell by cell."""
    tables = []
    for part in markdown.split("\n\n"):
        lines = [line for line in part.splitlines() if line.startswith("|")]
        if lines:
            heading, _, *rows = (
                [cell.strip() for cell in line[1:-1].split("|")]
                for line in map(plain, lines)
            )
            tables.append([heading, *rows])
    return tables


class Page(html.parser.HTMLParser):
    """What a page shows: by section its tables' cells, and how many rows."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.count, self.sorted = {}, "", []
        self._section, self._in, self._hidden = None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if self._hidden is None and "hidden" in attrs:
            self._hidden = tag
        if self._hidden is not None:
            return
        if tag == "section":
            self._section = self.tables.setdefault(attrs["id"], [])
        elif tag == "table":
            self._section.append([])
        elif tag == "tr":
            self._section[-1].append([])
        elif tag in ("td", "th"):
            self._in = "cell"
            self._section[-1][-1].append("")
            if "aria-sort" in attrs:
                self.sorted.append(attrs["aria-sort"])
        elif attrs.get("id") == "count":
            self._in = "count"

    def handle_endtag(self, tag):
        # What is hidden has none of its own kind within.
        if tag == self._hidden:
            self._hidden = None
        if tag in ("td", "th", "span"):
            self._in = None

    def handle_data(self, data):
        if self._hidden is not None:
            return
        if self._in == "cell":
            self._section[-1][-1][-1] += data
        elif self._in == "count":
            self.count += data


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium or chrome is installed to look with"
)


def drawn(folder, actions=""):
    """The page after a browser has run it, and some actions."""
    text = (folder / "report.html").read_text()
    path = folder / "looked-at.html"
    path.write_text(
        text.replace("</body>", f"<script>{actions}</script></body>")
    )
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--disable-background-networking", "--disable-sync"),
            *("--no-first-run", f"--user-data-dir={folder / 'profile'}"),
            *("--virtual-time-budget=5000", "--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Page(done.stdout)


def choosing(**values):
    """Chooses in the page's filters."""
    return "".join(
        f"{{const s = document.getElementById({name!r}); s.value = {value!r};"
        's.dispatchEvent(new Event("change"));}'
        for name, value in values.items()
    )


@needs_browser
def test_a_browser_shows_all_rows(written):
    found = drawn(written)
    assert found.tables == Page((written / "report.html").read_text()).tables
    rows = [
        row
        for tables in found.tables.values()
        for _, *rows in tables
        for row in rows
    ]
    assert found.count == f"{len(rows)} rows"


def clicking(table, heading, times=1):
    """Clicks on a heading of the first table that a selector finds."""
    return (
        f"for (const th of document.querySelector({table!r})"
        ".querySelectorAll('th'))"
        f" if (th.textContent === {heading!r}) {{"
        f"{'th.firstChild.click();' * times} break;}}"
    )


@needs_browser
@pytest.mark.parametrize(
    ("times", "direction"), [(1, "ascending"), (2, "descending")]
)
def test_a_click_sorts_and_another_turns_round(times, direction, written):
    """By the number that a cell begins with; what is empty comes last."""
    click = clicking("#mlora_controls table", "gain", times)
    found = drawn(written, click)
    ((heading, *rows),) = found.tables["mlora_controls"]
    cells = [row[heading.index("gain")] for row in rows]
    gains = [float(cell.split()[0]) for cell in cells if cell]
    assert len(set(gains)) > 1
    assert cells[len(gains) :] == [""] * (len(cells) - len(gains)) != []
    assert gains == sorted(gains, reverse=times == 2)
    assert found.sorted == [direction]


@needs_browser
def test_numbers_are_sorted_before_words(tmp_path):
    cells = ("none", "", "10", "<.001", "all", "9 ± 1", "1,000", "2e-1")
    text = "| v |\n|---|\n" + "".join(f"| {cell} |\n" for cell in cells)
    section = page.Section("some", "Some", text, None)
    (tmp_path / "report.html").write_text(page.html([section]))
    ((_, *rows),) = drawn(tmp_path, clicking("table", "v")).tables["some"]
    expected = "<.001", "2e-1", "9 ± 1", "10", "1,000", "all", "none", ""
    assert [cell for (cell,) in rows] == list(expected)


@needs_browser
@pytest.mark.parametrize(
    "asked", [{"data": "three <shops>"}, {"data": "ml1m-gender", "arm": "base"}]
)
def test_filters_leave_what_was_asked_for(asked, written):
    found = drawn(written, choosing(**asked))
    shown = {name: tables for name, tables in found.tables.items() if tables}
    assert {"mlora_table2", "mlora_table3"} <= set(shown)
    assert set(shown) == set(found.tables)  # and no heading alone
    count = 0
    for heading, *rows in (one for tables in shown.values() for one in tables):
        count += len(rows)
        for name, value in asked.items():
            assert {row[heading.index(name)] for row in rows} == {value}
    assert found.count == f"{count} rows"


@needs_browser
def test_every_tower_can_be_chosen(written):
    found = drawn(written, choosing(tower="mlora"))
    assert set(found.tables) == {"towers"}
