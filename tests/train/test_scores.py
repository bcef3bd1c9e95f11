from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.errors import OptionError
from geounet.train import baselines
from geounet.train.crossval import crossval, pooled, summary
from geounet.train.groups import split_groups
from geounet.train.models import main
from geounet.train.source import Chip
from geounet.train.threshold import best_threshold

pytestmark = pytest.mark.train


def water_iou(counts, _source):
    return {"iou": pooled(counts).score(1).iou}


@given(
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=30),
    folds=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_groups_are_never_split(sizes, folds, seed):
    groups = [[f"{g}.{i}" for i in range(n)] for g, n in enumerate(sizes)]
    parts = split_groups(groups, folds, seed)
    assert sorted(n for part in parts for n in part) == sorted(n for g in groups for n in g)
    for group in groups:
        assert sum(bool(set(group) & set(part)) for part in parts) == 1


def test_the_chips_are_split_by_place(water_chips):
    parts = split_groups(water_chips.groups, 4, 1)
    assert [len(part) for part in parts] == pytest.approx([51.5] * 4, abs=2)
    assert split_groups(water_chips.groups, 4, 1) == parts
    assert split_groups(water_chips.groups, 4, 2) != parts


def test_more_folds_than_groups():
    with pytest.raises(OptionError, match="3 folds of 2 groups"):
        split_groups([["a"], ["b"]], 3, 0)


def test_otsu_separates_two_heaps():
    rng = np.random.default_rng(0)
    heaps = np.concatenate([rng.normal(-22, 1, 3000), rng.normal(-12, 1.5, 9000)])
    assert -20 < baselines.otsu(heaps) < -15


@pytest.mark.parametrize("above", [True, False])
def test_best_threshold_is_best(above):
    rng = np.random.default_rng(0)
    positive = rng.random(4000) < 0.3
    values = rng.normal(0, 1, 4000) + np.where(positive == above, 1.5, -1.5)

    def iou(threshold):
        marked = values > threshold if above else values < threshold
        return (marked & positive).sum() / (marked | positive).sum()

    best = best_threshold(values, positive, above=above)
    tried = np.linspace(values.min(), values.max(), 101)[1:-1]
    assert iou(best) >= max(iou(t) for t in tried) - 1e-3


def test_mndwi_of_water_is_high_and_finite():
    image = np.zeros((7, 1, 3), np.float32)
    image[2], image[5] = [0.08, 0.05, -0.01], [0.01, 0.2, 0.0]
    index = baselines.mndwi(Chip(name="x", image=image, label=np.zeros((1, 3), np.int64)))
    assert index[0, 0] > 0.7
    assert index[0, 1] < 0
    assert np.isfinite(index).all()


def test_thresholds_solve_the_made_up_flood(made_up):
    contenders = {"fitted": baselines.vh_threshold, "otsu": baselines.otsu_of_scene}
    runs = [crossval(made_up, contenders, water_iou, folds=2, seed=seed) for seed in (0, 1)]
    scores = summary(runs)
    assert scores["fitted"]["iou"]["mean"] > 0.9
    assert scores["otsu"]["iou"]["mean"] > 0.9
    assert scores["otsu"]["iou"]["seeds"] == [round(run["otsu"]["iou"], 4) for run in runs]
    assert scores["fitted"]["iou"]["spread"] < 0.1


def test_the_forest_solves_the_made_up_flood(made_up):
    contenders = {"forest": baselines.pixel_forest}
    scores = crossval(made_up, contenders, water_iou, folds=2, seed=0)
    assert scores["forest"]["iou"] > 0.9


def test_no_contender_sees_what_it_is_scored_on(made_up):
    seen = []

    def contender(_source, names, _seed):
        seen.append(set(names))

        def classify(chip):
            assert chip.name not in names
            return chip.label

        return classify

    crossval(made_up, {"spy": contender}, water_iou, folds=4, seed=0, leave_out=("3",))
    assert len(seen) == 4
    assert all("3" not in names for names in seen)


def test_an_unknown_model_is_refused(capsys, data, monkeypatch):
    monkeypatch.setenv("GEOUNET_DATA", str(data))
    assert main(["no-such"]) == 2
    assert "no-such: no such model: choose all" in capsys.readouterr().err
