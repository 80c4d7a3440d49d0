r"""MLoRA's section 4.6: a domain that comes later.

    python -m experiments.mlora_new_domain --data=data/ml1m-age

Holds out each domain in turn, with the users and items that only it has, and
trains MLP + MLoRA on the others. Then the domain is added: as it is
(zero-shot), with its adapters alone trained, with rows for its new ids alone,
with both, with all weights, and, for comparison, a model of its own from
scratch. Tells each way's test AUC on the new domain and by how much it moves
the other domains' predictions. The paper says that adding and fine-tuning an
adapter is "very convenient" and gives no number.

Every domain and seed is a line of `new_domain.jsonl`; killed, the same command
goes on. Each domain trains one base and five models besides: three minutes of a
core by age. There, adapters with rows for the new ids reach what training all
weights does, or more, for five of seven domains, the rows alone some tenths
less, and nobody else's prediction moves.
"""

import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.console import Console

from data_prep import progress
from experiments import binary
from experiments import runs
from experiments.errors import RunError
from experiments.markdown_table import markdown_table
from experiments.provenance import provenance
from experiments.study import lines
from experiments.study import new_domain
from experiments.study import run
from experiments.study.chosen import RESULTS
from experiments.study.data_set import DataSet
from experiments.study.recipes import recipe
from experiments.study.statistics import Summary
from experiments.threads import define_threads_flag
from mlora_tf.recipes import Recipe

TITLE = "MLoRA's section 4.6: a domain that comes later"


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("data", None, "A prepared folder.", required=True)
    flags.DEFINE_list(
        "domains", None, "Which to hold out, one at a time; all by default."
    )
    flags.DEFINE_integer("seeds", 1, "How many seeds.", lower_bound=1)
    flags.DEFINE_string(
        "output", str(RESULTS), "Where new_domain.jsonl and the table are."
    )
    flags.DEFINE_string("runs", "runs/new_domain", "Where models are trained.")
    define_threads_flag()


def main() -> None:
    """Trains what is missing and writes the table."""
    values = flags.FLAGS
    output = pathlib.Path(values.output)
    data = DataSet.open(values.data, output)
    domains = values.domains or list(data.domains)
    unknown = [one for one in domains if one not in data.domains]
    if unknown:
        raise RunError(
            f"--domains must be among {', '.join(data.domains)}. "
            f"Received: {', '.join(unknown)}"
        )
    log = output / "new_domain.jsonl"
    lines.make(log)  # before anything is trained in vain
    console = Console(stderr=True)
    strategy = runs.start_tensorflow(replicas=1, threads=values.threads)
    for seed in range(values.seeds):
        for domain in domains:
            chosen = recipe("tuned", data, "mlp", "mlora", seed=seed)
            key = _key(data.fingerprint, chosen.to_dict(), domain)
            if key in {
                _key(one["fingerprint"], one["recipe"], one["domain"])
                for one in lines.read(log)
                if one["arms"].keys() >= set(new_domain.ARMS)
            }:
                continue
            with progress.waiting(f"Training without {domain}, seed {seed}"):
                folder = pathlib.Path(values.runs) / key
                found = held_out(data, domain, chosen, strategy, folder)
            lines.append(log, found)
            shutil.rmtree(folder)
            console.print(
                f"{data.name} without {domain}, seed {seed}: "
                + ", ".join(
                    f"{arm} {100 * one['auc']:.2f}"
                    for arm, one in found["arms"].items()
                ),
                soft_wrap=True,
            )
            write(log)


def write(log: pathlib.Path) -> pathlib.Path | None:
    """Writes the table beside its lines; None, and no file, without lines."""
    found = list(lines.read(log))
    if not found:
        return None
    path = log.with_suffix(".md")
    runs.write(path, markdown(found))
    return path


def held_out(
    data: DataSet,
    domain: str,
    chosen: Recipe,
    strategy: Any,
    folder: pathlib.Path,
) -> dict[str, Any]:
    """Trains all ways for one domain and gives back their line."""
    import keras

    from experiments.study import held_out as parting
    from mlora_tf import data as click_logs

    keras.utils.clear_session()
    log = click_logs.load(data.path, "memory")
    parts = parting.hold_out(log, domain)
    return {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "domain": domain,
        "recipe": chosen.to_dict(),
        "provenance": provenance(),
        "rows": len(parts.known.train),
        "new_values": parts.new_values,
        "unseen": round(parts.unseen, 5),
        "arms": new_domain.arms(parts, chosen, strategy, folder),
    }


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The table: a line for each domain, a column for each way.

    A way that an older line lacks has an empty cell.
    """
    arms = new_domain.ARMS
    heading = (
        "data",
        "new domain",
        "seeds",
        "training rows",
        "test rows with new ids, %",
        *arms,
        "change of others' predictions, by adapters and new ids",
    )
    rows = []
    for (data, domain), mine in by_domain(found).items():
        change = max(
            one["arms"]["adapters and new ids"]["change"] for one in mine
        )
        rows.append(
            (
                data,
                domain,
                str(len(mine)),
                f"{mine[0]['rows']:,}",
                f"{100 * mine[0]['unseen']:.1f}",
                *(
                    Summary.of(
                        [100 * one["arms"][arm]["auc"] for one in mine]
                    ).text()
                    if all(arm in one["arms"] for one in mine)
                    else ""
                    for arm in arms
                ),
                f"{change:g}",
            )
        )
    written_by = ", ".join(f"`{command}`" for command in commands(found))
    return (
        f"# {TITLE}\n\nTest AUC on the new domain, in percent. Written by "
        f"{written_by}.\n\n{markdown_table(heading, rows)}\n"
    )


def by_domain(
    found: Sequence[dict[str, Any]],
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The lines of each data set and domain, by seed.

    They are of the last recipe, on the last preparation of the data.
    """
    places: dict[tuple[str, str], dict[str, dict[int, Any]]] = {}
    for one in found:
        values = dict(one["recipe"])
        seed = values.pop("seed")
        recipes = places.setdefault((one["data"], one["domain"]), {})
        # Taken out and put in again, a recipe is the last one.
        values["fingerprint"] = one["fingerprint"]
        mine = recipes.pop(key := json.dumps(values, sort_keys=True), {})
        recipes[key] = {**mine, seed: one}
    return {
        place: [one for _, one in sorted([*recipes.values()][-1].items())]
        for place, recipes in places.items()
    }


def commands(found: Sequence[dict[str, Any]]) -> list[str]:
    """What has trained all lines, a command for each data set."""
    seeds: dict[str, int] = {}
    for (data, _), mine in by_domain(found).items():
        seeds[data] = max(len(mine), seeds.get(data, 1))
    return [
        f"python -m experiments.mlora_new_domain --data=data/{data}"
        + (f" --seeds={count}" if count > 1 else "")
        for data, count in seeds.items()
    ]


def _key(fingerprint: str, values: dict[str, Any], domain: str) -> str:
    return run.key(f"{fingerprint} without {domain}", values)


if __name__ == "__main__":
    define_flags()
    binary.run(main)
