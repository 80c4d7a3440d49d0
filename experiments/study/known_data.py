"""The data sets of a log of runs, where their folders needn't be."""

from experiments.study.chosen import chosen_on
from experiments.study.data_set import DataSet
from experiments.study.run_log import RunLog


def data_sets(log: RunLog) -> list[DataSet]:
    """The data sets that runs were trained on, in their first run's order.

    Their paths are where the documents say that they are prepared: reports
    read nothing there.
    """
    found: dict[str, DataSet] = {}
    for row in log.rows.values():
        names = tuple(
            one["name"] for one in row["phases"][-1]["test"]["domains"]
        )
        found.setdefault(
            row["fingerprint"],
            DataSet(
                f"data/{row['data']}",
                row["fingerprint"],
                names,
                chosen_on(row["fingerprint"], log.path.parent),
            ),
        )
    return list(found.values())
