"""The profile of a step: what is added up, and as which kind."""

import pytest

from experiments.benchmarks import step_profile
from experiments.benchmarks import steps
from experiments.benchmarks.step_profile import Spent


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("MatMul", "products"),
        ("_FusedMatMul", "products"),
        ("BatchMatMulV2", "products"),
        ("ResourceApplyAdam", "update"),
        ("ResourceSparseApplyAdam", "update"),
        ("ResourceGather", "rows"),
        ("UnsortedSegmentSum", "rows"),
        ("ConcatV2", "rows"),
        ("StridedSlice", "rows"),
        ("AddV2", "rest"),
        ("ReluGrad", "rest"),
    ],
)
def test_each_operation_is_of_a_kind(operation, kind):
    assert step_profile.kind_of(operation) == kind


def test_operations_are_added_up_by_step():
    found = [("MatMul", 0.002), ("_FusedMatMul", 0.004), ("Relu", 0.001)]
    assert step_profile.by_kind(found, steps=2) == {
        "products": Spent(3.0, 1.0),
        "update": Spent(0.0, 0.0),
        "rows": Spent(0.0, 0.0),
        "rest": Spent(0.5, 0.5),
    }


def test_a_steps_operations_are_found(monkeypatch):
    monkeypatch.setattr(step_profile, "STEPS", 4)
    row = step_profile.profiled(
        steps.Workload(
            "shared",
            num_domains=3,
            num_ids=20,
            embedding_dim=2,
            hidden_units=(4,),
            batch_size=8,
            execution=2,
        )
    )
    kinds = row["kinds"]
    # Two layers: once forward, and for the gradients of both their arguments.
    assert kinds["products"]["count"] == 6
    # Three tables, two kernels and two biases.
    assert kinds["update"]["count"] == 7
    assert all(one["ms"] > 0 for one in kinds.values())
    total = sum(one["ms"] for one in kinds.values())
    assert row["ms"] == pytest.approx(total)
    work = 3 * 2 * 8 * (6 * 4 + 4)
    assert row["gflops_per_second"] == pytest.approx(
        work / kinds["products"]["ms"] / 1e6, rel=0.5
    )
    text = step_profile.markdown([row], "python -m it")
    assert "| shared | 3 |" in text
    assert "| 1.00 | 6 |" in text
