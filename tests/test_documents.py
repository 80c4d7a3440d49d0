"""What the documents say is what the files and commands say."""

import collections
import json
import pathlib
import re

import numpy as np
from scipy import stats

from experiments import quickstart
from experiments.study import paper
from experiments.study.run_log import RunLog
from mlora_tf import BACKBONES
from mlora_tf import NORMS
from mlora_tf import TOWERS
from tests.docs import pages

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"


def read(name):
    return (ROOT / name).read_text("utf-8")


def words(name):
    """A document as one line."""
    return " ".join(read(name).split())


def results(name, **wanted):
    """The rows of a study's result that have these values."""
    rows = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["rows"]
    return [
        row
        for row in rows
        if all(row[key] == value for key, value in wanted.items())
    ]


def mean_gain(name, **wanted):
    """Of the one row that has these values, as the documents print it."""
    (row,) = results(name, **wanted)
    return f"{np.mean(row['wauc_gain']):+.2f}"


def test_ci_runs_exactly_readmes_second_command():
    first, second = re.findall(r"^python3 -m venv .*$", read("README.md"), re.M)
    assert first.endswith("-m experiments.quickstart")
    assert second.endswith("-m pytest")
    # The line that .ci/run takes is that one, and no other line matches.
    pattern = re.search(r"grep -m 1 -- '(.*)' README.md", read(".ci/run"))[1]
    lines = read("README.md").splitlines()
    assert [line for line in lines if re.search(pattern, line)] == [second]
    for command in (first, second):
        assert f"`{command}`" in read("BUILD.md")


def test_readmes_python_runs():
    (block,) = (
        one for one in pages.blocks(pages.README) if one.kind == "python"
    )
    assert len(block.text.splitlines()) <= 12
    names = {}
    pages.run_python(block, pages.README, names)
    ids = np.array([1, 2, 3, 0])
    both = {"item": ids, "domain": np.ones(4, "int32")}
    np.testing.assert_allclose(
        names["italian"]({"item": ids})["ctr"],
        names["model"](both)["ctr"],
        atol=1e-6,
    )


def test_readmes_results_are_a_whole_table_and_its_command():
    text = read("README.md")
    (results,) = re.findall(
        r"<!-- results:begin -->\n(.*?)<!-- results:end -->", text, re.S
    )
    tables = pages.tables(results)
    assert tables
    for name, rows in tables.items():
        assert rows == first_table(name), name
        assert f"python -m experiments.{name.removesuffix('.md')} " in results


def test_what_validation_chooses_has_not_lost_yet():
    # README says so.
    chosen = results("mlora_table2", arm="+ MLoRA, chosen")
    by_domain = results("mlora_table2", arm="+ MLoRA, by domain")
    assert len(by_domain) == len(chosen)
    assert {row["data"] for row in chosen} >= {"ml1m-gender", "amazon-6"}
    for row in chosen:
        assert np.mean(row["wauc_gain"]) > -0.005, row["group"]
    cost = -min(np.mean(row["wauc_gain"]) for row in chosen + by_domain)
    joint = results("mlora_table2", arm="+ MLoRA, joint")
    worst = min(np.mean(row["wauc_gain"]) for row in joint)
    single, by_domain_single = (
        -min(gain for row in rows for gain in row["wauc_gain"])
        for rows in (chosen, by_domain)
    )
    assert (
        "Choosing on validation has cost no model of this table more than "
        f"{cost:.2f} on average (single seeds up to {single:.2f}, by domain up "
        f"to {by_domain_single:.2f}); always training jointly has cost up to "
        f"{-worst:.2f}."
    ) in words("README.md")
    which = words("docs/cookbook/which_tower.md")
    assert f"the worst single seed lost {single:.2f}" in which


def test_the_documents_tell_what_the_search_found():
    data = json.loads((RESULTS / "tuned.json").read_text())["data"]
    tried = {
        one["name"]: [f"{100 * value['score']:.2f}" for value in one["tried"]]
        for arms in data.values()
        for one in arms.values()
    }
    assert len(tried) >= 3
    # By the name of the data; the last arm's, if it has several.
    text = " ".join(read("BUILD.md").split())
    for name in ("ml1m-occupation", "amazon-6"):
        assert all(value in text for value in tried[name]), name
    which = " ".join(read("docs/cookbook/which_tower.md").split())
    assert max(tried["ml1m-occupation"]) in which


def test_the_documents_tell_what_the_penalty_decides():
    data = json.loads((RESULTS / "tuned.json").read_text())["data"]
    (arms,) = (
        one for one in data.values() if one["shared"]["name"] == "amazon-6"
    )
    base, mlora = (
        {
            value["fields"]["embedding_l2"]: value["score"]
            for value in arms[name]["tried"]
            if value["lever"] == "embedding_l2"
        }
        for name in ("shared", "mlora")
    )
    gain = {
        one: f"{100 * (mlora[one] - base[one]):+.2f}"
        for one in (3e-5, 4e-5, 5e-5)
    }
    assert (
        f"the gain in validation falls from {gain[3e-5]} at 3e-5 to "
        f"{gain[5e-5]} at 5e-5, the base's best (one seed)"
    ) in words("README.md")
    text = words("docs/results.md")
    assert (
        f"the gain in validation is {gain[3e-5]} at 3e-5, {gain[4e-5]} at "
        f"4e-5, which the adapters have, and {gain[5e-5]} at 5e-5, which the "
        "base has (one seed)"
    ) in text
    best = f"{100 * (mlora[4e-5] - base[5e-5]):+.2f}"
    assert f"Over the base at its own best, MLoRA at 4e-5 gains {best}" in text
    chosen = {name: arms[name]["chosen"]["embedding_l2"] for name in arms}
    assert chosen["shared"] == 5e-5
    assert chosen["mlora"] == 4e-5
    none, some = (
        value["score"]
        for value in arms["shared"]["tried"]
        if value["lever"] == "dropout"
    )
    assert f"Dropout takes {100 * (none - some):.2f} from the base" in text


def test_the_results_page_counts_the_tries():
    data = json.loads((RESULTS / "tuned.json").read_text())["data"]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in read("docs/results.md").splitlines()
        if re.match(r"\|( (MovieLens|Amazon)[^|]*)? \| (base|MLoRA) \|", line)
    ]
    names = ("ml1m-gender", "ml1m-age", "ml1m-occupation", "amazon-6")
    towers = ("shared", "mlora")
    assert len(rows) == len(names) * len(towers)
    for i, row in enumerate(rows):
        name, tower = names[i // 2], towers[i % 2]
        (arms,) = (
            one for one in data.values() if one["shared"]["name"] == name
        )
        tried = collections.Counter(
            one["lever"] for one in arms[tower]["tried"]
        )
        _, _, penalty, dropout, own = row
        assert penalty == str(tried.pop("embedding_l2", "the base's"))
        assert dropout == str(tried.pop("dropout", ""))
        counts = [int(one) for one in re.findall(r"\d+", own)]
        assert sorted(counts) == sorted(tried.values())


def test_readme_tells_what_adapters_gain_on_movielens():
    joint = {
        (row["data"].removeprefix("ml1m-"), row["group"]): row
        for row in results("mlora_table2", arm="+ MLoRA, joint")
        if row["data"].startswith("ml1m-")
    }
    mlp, deepfm = (
        [
            f"{np.mean(joint[domain, model]['wauc_gain']):+.2f}"
            for domain in ("gender", "age", "occupation")
        ]
        for model in ("mlp", "deepfm")
    )
    for domain in ("gender", "age", "occupation"):
        for model in ("mlp", "deepfm"):
            assert joint[domain, model]["seeds"] == 5
            assert joint[domain, model]["wauc_p"] >= 0.05
    largest = max(joint.values(), key=lambda row: np.mean(row["wauc_gain"]))
    assert (largest["data"], largest["group"]) == ("ml1m-gender", "nfm")
    assert largest["wauc_p"] >= 0.05
    p = f"{largest['wauc_p']:.3f}".removeprefix("0")
    text = words("README.md")
    assert (
        "By gender, by age and by occupation joint training gains "
        f"{mlp[0]}, {mlp[1]} and {mlp[2]} with the MLP, and {deepfm[0]}, "
        f"{deepfm[1]} and {deepfm[2]} with DeepFM (five seeds each)"
    ) in text
    gain = f"{np.mean(largest['wauc_gain']):+.2f}"
    assert f"NFM's {gain} by gender (p {p})" in text
    intervals = [
        stats.ttest_1samp(
            joint["gender", model]["wauc_gain"], 0
        ).confidence_interval()
        for model in ("mlp", "deepfm")
    ]
    (low, high), (lower, higher) = intervals
    assert (
        f"our 95% intervals over seeds are {low:+.2f} to {high:+.2f} and "
        f"{lower:+.2f} to {higher:+.2f}"
    ) in text


def test_the_documents_tell_what_adapters_gain_on_amazon():
    amazon = {"data": "amazon-6", "arm": "+ MLoRA, joint"}
    (mlp,) = results("mlora_table2", group="mlp", **amazon)
    gains, p = mlp["wauc_gain"], f"{mlp['wauc_p']:.3f}".removeprefix("0")
    text, page = words("README.md"), words("docs/results.md")
    assert (
        f"adapters gain {np.mean(gains):+.2f} ± {np.std(gains, ddof=1):.2f} "
        f"WAUC (five seeds, p {p})"
    ) in text
    *most, last = (f"{gain:+.2f}" for gain in gains)
    assert f"the five seeds gain {', '.join(most)} and {last};" in page
    names = {
        **{"pnn": "PNN", "dcn": "DCN", "wide_deep": "Wide&Deep"},
        **{"deepfm": "DeepFM", "nfm": "NFM", "fibinet": "FiBiNET"},
        "autoint": "AutoInt",
    }
    for group, name in names.items():
        gain = mean_gain("mlora_table2", group=group, **amazon)
        assert f"{name} {gain}" in text
    star = mean_gain("mlora_table2", group="star", **amazon)
    assert f"loses {star.removeprefix('-')}, with" in text
    (row,) = results(
        "mlora_controls", data="amazon-6", arm="one adapter for all"
    )
    single, p = row["wauc_gain"], f"{row['wauc_p']:.3f}".removeprefix("0")
    more = np.subtract(gains[: len(single)], single)
    more_p = f"{stats.ttest_1samp(more, 0).pvalue:.3f}".removeprefix("0")
    spread = f"{more.mean():.2f} ± {np.std(more, ddof=1):.2f}"
    seeds = {4: "four", 5: "five"}[len(single)]
    assert (
        f"a single adapter for all six has {np.mean(single):+.2f} ± "
        f"{np.std(single, ddof=1):.2f} ({seeds} seeds, p {p}), and MLoRA "
        f"+{spread} more than that (p {more_p})"
    ) in text
    *most, last = (f"{gain:+.2f}" for gain in single)
    assert f"that is {', '.join(most)} and {last} in {seeds} seeds" in page
    assert f"one for all by {spread} (p {more_p})" in page
    (same,) = results(
        "mlora_controls", data="amazon-6", arm="base with MLoRA's penalty"
    )
    lost = -same["wauc_gain"][0]
    assert f"with which the base loses {lost:.2f} (one seed)" in page


def test_readme_tells_the_mean_over_the_models_by_gender():
    gains = [
        np.mean(row["wauc_gain"])
        for row in results(
            "mlora_table2", data="ml1m-gender", arm="+ MLoRA, joint"
        )
    ]
    assert len(gains) == 10
    printed = paper.MLORA_TABLE2["MovieLens-gen"].values()
    of_paper = [one.mlora - one.base for one in printed]
    text = words("README.md")
    assert (
        "Over the ten models by gender the mean gain is "
        f"{np.mean(gains):+.2f}, where the paper's is {np.mean(of_paper):+.2f}"
    ) in text
    (row,) = results(
        "mlora_table2",
        data="ml1m-age",
        group="deepfm",
        arm="+ MLoRA, joint",
    )
    lost, p = row["macro_auc_gain"], f"{row['macro_auc_p']:.3f}"
    assert (
        f"in macro AUC DeepFM loses {-np.mean(lost):.2f} ± "
        f"{np.std(lost, ddof=1):.2f} by age (p {p.removeprefix('0')})"
    ) in text


def test_readme_tells_what_star_gains():
    star, told, base = (
        results("star_table3", data="ml1m-occupation", arm=arm)[0]
        for arm in (
            "star FCN, partitioned",
            "Base, batch, the domain in its input",
            "Base, batch",
        )
    )

    def said(gains):
        return f"{np.mean(gains):.2f} ± {np.std(gains, ddof=1):.2f}"

    def p_of(gains):
        return f"{stats.ttest_1samp(gains, 0).pvalue:.3f}".removeprefix("0")

    users, users_told = (
        np.subtract(row["user_auc"], base["user_auc"]) for row in (star, told)
    )
    assert star["seeds"] == told["seeds"] == base["seeds"] == 3
    printed = paper.STAR_TABLE2
    text = words("README.md")
    gains = star["wauc_gain"]
    assert (
        f"it scores {said(gains)} WAUC above a base with batch normalization "
        f"and the same network by 21 occupations (p {p_of(gains)}), and "
        f"{said(users)} above in its paper's metric, user-weighted AUC (p "
        f"{p_of(users)}), where the paper gains "
        f"{printed['star'] - printed['shared']:.2f} on"
    ) in text
    assert (
        f"one more embedding, gains {said(told['wauc_gain'])} and "
        f"{said(users_told)} (three seeds each"
    ) in text


def test_the_documents_tell_what_each_category_gains():
    base, joint = (
        results("mlora_table3", data="amazon-6", group="mlp", arm=arm)[0]
        for arm in ("base", "+ MLoRA, joint")
    )
    gains = {
        name: np.subtract(values, base["domains"][name])
        for name, values in joint["domains"].items()
    }
    page = words("docs/results.md")
    for name, gain in gains.items():
        spread = np.std(gain, ddof=1)
        assert f"{name} {gain.mean():+.2f} ± {spread:.2f}" in page
    losing = {name: int((gain < 0).sum()) for name, gain in gains.items()}
    assert {name: count for name, count in losing.items() if count} == {
        "Musical_Instruments": 3,
        "Luxury_Beauty": 2,
        "Beauty": 1,
    }
    worst = gains["Musical_Instruments"]
    assert (
        f"Musical_Instruments has {worst.mean():+.2f} ± "
        f"{np.std(worst, ddof=1):.2f} with the MLP"
    ) in words("README.md")


def test_runs_that_tables_compare_are_from_one_kind_of_machine():
    log = RunLog(RESULTS / "runs.jsonl")
    assert log.differing == []
    for path in RESULTS.glob("*.md"):
        assert "with the same arithmetic" not in path.read_text(), path.name


def test_readmes_pages_and_pictures_are_there():
    for name in ["README.md", "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", read(name)):
            assert (ROOT / target).is_file(), (name, target)


def test_readme_names_every_backbone_tower_and_norm():
    text = read("README.md")
    for name in (*BACKBONES, *TOWERS, *NORMS):
        assert f"`{name}`" in text, name


def test_every_base_is_where_it_should_be_on_movielens():
    # One far below would be a bug, not a finding.
    rows = json.loads((RESULTS / "mlora_table2.json").read_text())["rows"]
    bases = {
        row["group"]: row["wauc"]
        for row in rows
        if row["data"] == "ml1m-gender" and row["arm"] == "base"
    }
    assert set(bases) == {*BACKBONES, "star"}
    for model, waucs in bases.items():
        for wauc in waucs:
            assert 80.9 <= wauc <= 82.0, model


def test_builds_tables_of_results_are_the_committed_ones():
    build = read("BUILD.md")
    for name in (
        *("mlora_table2.md", "mlora_table2_release.md"),
        *("mlora_table2_paper.md", "towers.md"),
    ):
        assert "\n".join(first_table(name)) in build, name


def test_build_states_the_committed_speeds():
    build = read("BUILD.md")
    for row in json.loads((RESULTS / "epoch.json").read_text())["rows"]:
        assert (
            f"| {row['tower']} | {row['dropout']} "
            f"| {row['train_seconds']:.1f} "
            f"| {row['train_rows_per_second']:,.0f} "
            f"| {row['evaluation_seconds']:.2f} "
            f"| {row['epoch_seconds']:.1f} |"
        ) in build
    for row in json.loads((RESULTS / "strategies.json").read_text())["rows"]:
        cells = [row["tower"], *(f"{row[name]:.1f}" for name in list(row)[1:])]
        assert f"| {' | '.join(cells)} |" in build


def test_the_quickstart_tells_the_committed_result():
    result = json.loads((RESULTS / "quickstart.json").read_text())
    words = " ".join(quickstart.__doc__.split())
    for key in ("base", "two_phase", "joint", "best"):
        assert f"{100 * result['all'][key]:.1f}" in words, key
    base, joint, best = (
        f"{100 * result['all'][key]:.1f}" for key in ("base", "joint", "best")
    )
    which = " ".join(read("docs/cookbook/which_tower.md").split())
    assert (
        f"base has a test WAUC of {base}, MLoRA trained jointly {joint}, and "
        f"the best possible is {best}."
    ) in which
    readme = " ".join(read("README.md").split())
    assert (
        f"MLoRA raises the test WAUC from {base} to {joint} (best possible "
        f"{best}; one seed)"
    ) in readme


def test_every_command_in_the_documents_is_a_module_there():
    cookbook = [path.relative_to(ROOT) for path in pages.DOCS.rglob("*.md")]
    for name in ("README.md", "BUILD.md", "CHANGELOG.md", *cookbook):
        modules = re.findall(
            r"python -m ((?:experiments|data_prep)[\w.]*)", read(name)
        )
        for module in modules:
            if module.endswith(".NAME"):
                continue  # Stands for any of a list.
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file(), (name, module)


def test_no_data_or_model_is_tracked_as_a_result():
    suffixes = {path.suffix for path in RESULTS.iterdir()}
    assert suffixes <= {".html", ".json", ".jsonl", ".md", ".png"}


def rows_of(name):
    lines = (RESULTS / name).read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("|")]


def test_every_study_of_build_has_results():
    build = read("BUILD.md")
    studies = build.split("\n## Studies\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", studies, re.M)
    assert len(named) == 15
    for name in named:
        assert (RESULTS / f"{name.removeprefix('mlora_')}.jsonl").is_file() or (
            RESULTS / f"{name}.json"
        ).is_file(), name


def test_the_results_page_tells_what_a_new_domain_gets():
    lines = (RESULTS / "new_domain.jsonl").read_text().splitlines()
    arms = [
        one["arms"]
        for one in map(json.loads, lines)
        if one["data"] == "ml1m-age"
    ]
    assert len(arms) == 7
    ours, scratch = (
        [100 * one[name]["auc"] for one in arms]
        for name in ("adapters and new ids", "from scratch")
    )
    text = words("docs/results.md")
    assert (
        f"its test AUC is {min(ours):.1f} to {max(ours):.1f}, from scratch "
        f"{min(scratch):.1f} to {max(scratch):.1f}, and no other domain's"
    ) in text
    for one in arms:
        assert one["adapters and new ids"]["change"] == 0
    gains = [mine - other for mine, other in zip(ours, scratch, strict=True)]
    assert f"the smallest gains {max(gains):.1f}, the largest nothing" in text
    assert abs(min(gains)) < 0.05


def test_the_original_codes_numbers_are_those_that_are_kept():
    page = " ".join(read("docs/cookbook/reproduce_table_2.md").split())
    numbers = {key: f"{one:.2f}" for key, one in paper.ORIGINAL_CODE.items()}
    assert (
        f"a test WAUC of {numbers['mlp', 'base']} with the MLP, "
        f"{numbers['mlp', 'mlora']} with the MLP and MLoRA, and "
        f"{numbers['deepfm', 'base']} with DeepFM"
    ) in page


def test_the_results_page_tells_what_adapters_gain_on_fresh_rows():
    rows = json.loads((RESULTS / "mlora_controls.json").read_text())["rows"]
    found = {
        row["arm"]: row
        for row in rows
        if row["data"] == "ml1m-gender" and row["group"] == "mlp"
    }
    fresh = found["MLoRA on that fifth"]
    assert fresh["seeds"] == 3
    gain = np.mean(fresh["wauc_gain"])
    less = np.mean(found["base"]["wauc"][:3]) - np.mean(fresh["wauc"])
    text = words("docs/results.md")
    said = f"gain {gain:.2f} by gender, and a base of all rows is better"
    assert f"{said} by {less:.2f} (three seeds" in text


def first_table(name):
    """What a page of results begins with; more detail may follow."""
    (first, *_) = re.findall(
        r"(?:^\|.*\n)+", (RESULTS / name).read_text("utf-8"), re.M
    )
    return first.splitlines()


def test_build_has_the_committed_table_of_speeds():
    table = rows_of("speed.md")
    assert len(table) == 21
    assert "\n".join(table) in read("BUILD.md")


def test_the_documents_state_the_committed_ratios():
    lines = json.loads((RESULTS / "speed.json").read_text())["benchmarks"]
    mlora, star = (
        dict(zip(domains, lines[name]["lines"][0]["measured"], strict=True))
        for name, domains in (
            ("mlora", (2, 10, 30, 100, 1000)),
            ("star", (10, 30, 100)),
        )
    )
    text = " ".join(read("README.md").split())
    assert (
        f"takes {mlora[2]:.2f} times the shared tower's with 2 domains, "
        f"{mlora[10]:.2f} with 10, {mlora[100]:.2f} with 100 and "
        f"{mlora[1000]:.2f} with 1,000"
    ) in text
    assert f"of `star` {star[10]:.2f} with 10 and {star[100]:.2f} with 100" in (
        text
    )
    batch = json.loads((RESULTS / "growth.json").read_text())["panels"][
        "batch_size"
    ]["series"]
    ratios = [
        m / s for m, s in zip(batch["mlora"], batch["shared"], strict=True)
    ]
    said = " ".join(read("BUILD.md").split())
    assert f"takes {ratios[2]:.2f} times the shared tower's" in said
    assert f"16,384 rows {ratios[3]:.2f} times" in said


def test_the_documents_state_the_committed_speed_of_serving():
    result = json.loads((RESULTS / "serving.json").read_text())
    folded = [number for line in result["lines"] for number in line["measured"]]
    said = f"{min(folded):.2f} to {max(folded):.2f} times"
    for name in ("README.md", "BUILD.md"):
        assert said in " ".join(read(name).split()), name


def test_build_states_the_committed_speed_of_streaming():
    result = json.loads((RESULTS / "streaming.json").read_text())
    prepare, read_ = result["prepare"], result["read"]
    words = " ".join(read("BUILD.md").split())
    assert (
        f"{result['options']['rows'] // 10**6}M rows of "
        f"{['no', 'one', 'two', 'three'][result['features']]} features"
    ) in words
    assert (
        f"prepared in {prepare['seconds']:.0f} s at a peak of "
        f"{prepare['peak_rss_bytes'] / 1e9:.2f} GB and read, shuffled and "
        f"batched at {read_['rows_per_second'] / 1e6:.1f} million rows/s at a "
        f"peak of {read_['peak_rss_bytes'] / 1e9:.2f} GB"
    ) in words
