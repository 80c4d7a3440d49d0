"""The report: all tables from a log, and a page that a browser draws."""

import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from experiments import mlora_table2
from experiments import report
from experiments import runs
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
    # No run is of STAR's, or of another width; of the temperatures one is,
    # and so is one of the towers.
    assert names == {
        *("mlora_table2", "mlora_table3", "mlora_table4"),
        *("mlora_controls", "mlora_figure4", "towers", "lazy_adam"),
    }
    text = (written / "mlora_table2.md").read_text()
    assert "data/ml1m-gender,data/three <shops>" in text
    assert (written / "mlora_table3.png").is_file()


def test_a_table_says_who_wrote_it_and_what_trains_the_rest(written):
    text = " ".join((written / "mlora_table2.md").read_text().split())
    assert "Written by `python -m experiments.report`, of the runs" in text
    assert "--seeds=3 --preset=tuned` trains those that it lacks." in text


def test_the_page_has_the_domains_one_by_one(written):
    text = (written / "report.html").read_text()
    (data,) = re.findall(r'id="sections">(.*?)</script>', text)
    by_name = {one["name"]: one for one in json.loads(data)}
    table = by_name["mlora_table3"]
    assert table["of_domains"] == "auc"
    log = RunLog(written / "runs.jsonl")
    for row in json.loads((written / "mlora_table3.json").read_text())["rows"]:
        (shown,) = [
            one
            for one in table["rows"]
            if (one["data"], one["arm"]) == (row["data"], row["arm"])
            and one["group"] == row["group"]
        ]
        phases = [log.rows[key]["phases"] for key in row["runs"]]
        which = 0 if row["phase"] in ("pretrain", "joint") else 1
        for index, name in enumerate(shown["domains"]):
            assert shown["domains"][name] == [
                round(100 * phase[which]["test"]["domains"][index]["auc"], 5)
                for phase in phases
            ]
    assert by_name["mlora_table2"]["rows"][0]["domains"] is None


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
        pytest.raises(runs.RunError, match="no runs: train some"),
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
        link.startswith("data:image/png;base64,") for link in links.found
    )
    assert "http" not in text.split("<script")[-1]


def test_text_from_runs_cannot_end_the_script():
    class Section:
        name = preset = command = "x"
        title = explanation = "</script><script>alert(1)</script>"
        rows = ()
        picture = of_domains = None

    text = page.html([Section])
    assert text.count("</script>") == 2
    assert "alert(1)</script>" not in text


def drawn(folder, actions=""):
    """The page's elements after a browser has run it, and some actions."""
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
    return Drawn(done.stdout)


class Drawn(html.parser.HTMLParser):
    """Cells of the drawn tables, line by line, and what says how many."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.count, self.sorted = [], "", []
        self._in = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._in = "cell"
            self.tables[-1][-1].append("")
            if "aria-sort" in attrs:
                self.sorted.append(attrs["aria-sort"])
        elif attrs.get("id") == "count":
            self._in = "count"

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == "cell":
            self.tables[-1][-1][-1] += data
        elif self._in == "count":
            self.count += data


needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium or chrome is installed to look with"
)


@needs_browser
def test_a_browser_draws_all_rows(written):
    found = drawn(written)
    content = json.loads((written / "mlora_table2.json").read_text())
    heading, *lines = found.tables[0]
    assert heading[:6] == ["data", "model", "arm", "seeds", "WAUC", "gain"]
    assert len(lines) == len(content["rows"]) == 16
    assert lines[8][0] == "three <shops>"
    first = content["rows"][1]
    mean = sum(first["wauc"]) / 3
    assert lines[1][4].startswith(f"{mean:.2f} ± ")
    assert found.count == f"{sum(len(t) - 1 for t in found.tables)} rows"


@needs_browser
def test_a_click_sorts_and_another_turns_round(written):
    click = 'document.querySelector("th[data-name=wauc]").click();'
    up, down = drawn(written, click), drawn(written, 2 * click)
    means = [
        [float(line[4].split()[0]) for line in found.tables[0][1:]]
        for found in (up, down)
    ]
    assert means[0] == sorted(means[0])
    assert means[1] == sorted(means[1], reverse=True)
    assert up.sorted == ["ascending"]
    assert down.sorted == ["descending"]


@needs_browser
def test_filters_leave_what_was_asked_for(written):
    choose = (
        'const s = document.getElementById("data"); s.value = "ml1m-gender";'
        's.dispatchEvent(new Event("change"));'
    )
    found = drawn(written, choose)
    assert found.tables
    for _, *lines in found.tables:
        assert {line[0] for line in lines} == {"ml1m-gender"}


@needs_browser
def test_domains_are_columns_where_their_data_is_chosen(written):
    def headings(name):
        choose = (
            f'const s = document.getElementById("data"); s.value = "{name}";'
            's.dispatchEvent(new Event("change"));'
        )
        return [heading for heading, *_ in drawn(written, choose).tables]

    first, second = (
        [cell for heading in headings(data.name) for cell in heading]
        for data in SETS
    )
    assert {"auc of F", "auc of M"} <= set(first)
    assert "auc of x" not in first
    assert {"auc of x", "auc of y", "auc of z"} <= set(second)


def test_the_pages_template_is_where_it_is_read():
    assert pathlib.Path(page.TEMPLATE).read_text().count("/*sections*/") == 1
