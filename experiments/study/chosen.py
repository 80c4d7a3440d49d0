"""What `experiments.search` has chosen on a data set."""

import json
import pathlib
from typing import Any

from experiments.provenance import ROOT

Chosen = dict[str, dict[str, Any]]
"""By a search's arm, the recipe's fields that it chose."""

RESULTS = ROOT / "experiments" / "results"
TUNED = "tuned.json"


def chosen_on(fingerprint: str, folder: pathlib.Path) -> Chosen:
    """What was chosen on data: in a folder of results, or else in ours.

    Args:
        fingerprint: The data's hash.
        folder: Where a search of one's own may have written.

    Returns:
        What was chosen; nothing, if nobody searched on these data.
    """
    for path in (folder / TUNED, RESULTS / TUNED):
        if path.is_file():
            content = json.loads(path.read_text("utf-8"))
            if arms := content["data"].get(fingerprint):
                return {arm: one["chosen"] for arm, one in arms.items()}
    return {}
