from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasters
import torch

from geounet.bundle import load_bundle, save_bundle
from geounet.engine.torch import TorchEngine
from geounet.errors import OptionError
from geounet.metrics import Confusion
from geounet.nn import build
from geounet.spec import ArchSpec, ModelSpec
from geounet.testing import random_bundle
from geounet.testing.bundles import random_spec
from geounet.train.augment import Normalize
from geounet.train.data import DataRequest, open_data
from geounet.train.fit import fit
from geounet.train.loss import SegmentationLoss, class_weights
from geounet.train.module import SegmentationModule
from geounet.train.norms import batch_norms
from geounet.train.precision import Agreement, bf16_agreement, openvino_agreement
from geounet.train.predict import predict_labels, predict_logits
from geounet.train.recipe import Recipe
from geounet.train.scheme import read_classes
from geounet.train.source import IGNORE, Chip
from geounet.train.statistics import statistics_of
from geounet.train.threshold import fold_threshold
from geounet.train.warm import PatchPool
from geounet.train.whiten import Whitened, whitening

pytestmark = pytest.mark.train

TRAINING, HELD_OUT = ("0", "1", "2", "3", "4", "5"), ("6", "7")


def iou(trained, source, names):
    counts = Confusion()
    for chip in source.chips(names):
        labels = predict_labels(trained.network, trained.normalize, chip)
        counts.add(labels, chip.label, chip.scored)
    return counts.score(1).iou


def test_learns_what_can_be_learnt(made_up, recipe):
    trained = fit(recipe, made_up, TRAINING, seed=0)
    assert iou(trained, made_up, HELD_OUT) > 0.9


def test_more_steps_less_loss(made_up, recipe):
    short = fit(replace(recipe, steps=4), made_up, TRAINING, seed=0)
    assert fit(recipe, made_up, TRAINING, seed=0).loss < short.loss


def test_a_seed_gives_the_same_weights(made_up, recipe):
    recipe = replace(recipe, steps=3)

    def weights(seed):
        state = fit(recipe, made_up, TRAINING, seed=seed).network.state_dict()
        return torch.cat([v.flatten().float() for v in state.values()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_statistics_are_of_the_training_part_only(made_up, recipe):
    trained = fit(replace(recipe, steps=1), made_up, TRAINING, seed=0)
    assert trained.bands == statistics_of(made_up, TRAINING, recipe.clip).bands
    assert trained.bands != statistics_of(made_up, (*TRAINING, *HELD_OUT), recipe.clip).bands


def test_chips_left_out_are_never_seen(made_up, recipe):
    recipe = replace(recipe, steps=1, leave_out=("0",))
    trained = fit(recipe, made_up, TRAINING, seed=0)
    assert trained.bands == statistics_of(made_up, TRAINING[1:], recipe.clip).bands


def test_statistics_are_those_of_numpy(made_up):
    (chip,) = made_up.chips(["7"])
    bands = statistics_of(made_up, ["7"], (-25.0, 5.0)).bands
    values = np.clip(chip.image[:, chip.valid], -25, 5)
    assert [b.mean for b in bands] == pytest.approx(values.mean(axis=1), abs=1e-4)
    assert [b.std for b in bands] == pytest.approx(values.std(axis=1), abs=1e-4)
    shares = statistics_of(made_up, ["7"], (-25.0, 5.0)).shares
    assert shares[1] == pytest.approx((chip.label[chip.scored] == 1).mean())


@pytest.mark.parametrize("missing", [False, True])
def test_shares_are_the_counts_of_the_data_where_images_are_valid(tmp_path, missing):
    """And each chip is read once. Labels where the image has no data do not count."""
    rng = np.random.default_rng(3)
    for i in range(9):
        label = rng.integers(0, 3, (64, 64)).astype(np.uint8)
        image = rng.integers(1, 255, (2, 64, 64)).astype(np.uint8)
        if missing:
            image[:, label == 2] = 0
        for kind, data, options in (("images", image, {"nodata": 0}), ("labels", label, {})):
            (tmp_path / kind).mkdir(exist_ok=True)
            where = rasters.at(10, rasters.WEST + i * 5000)
            rasters.write(tmp_path / kind / f"{i}.tif", data, transform=where, **options)
    classes = read_classes("a=0,b=1,c=2")
    source = open_data(
        DataRequest(images=tmp_path / "images", labels=tmp_path / "labels", classes=classes)
    )
    read, chips = [], source.chips
    source.chips = lambda names: (read.append(chip.name) or chip for chip in chips(names))
    shares = statistics_of(source, source.names[:5], (0.0, 255.0)).shares
    assert read == list(source.names[:5])
    counts = np.sum([source.pixels(name).classes for name in source.names[:5]], axis=0)
    if missing:
        counts[2] = 0
    assert shares == pytest.approx(counts / counts.sum())


def test_a_bundle_of_the_loop_loads_and_gives_the_same_labels(made_up, recipe, tmp_path):
    trained = fit(recipe, made_up, TRAINING, seed=0)
    spec: ModelSpec = replace(
        random_spec(("VV", "VH"), unit="dB", width=4, depth=2),
        bands=trained.bands,
        clip=recipe.clip,
        classes=made_up.classes,
    )
    path = save_bundle(tmp_path / "m.geounet", spec, trained.network.state_dict())
    bundle = load_bundle(path)
    (chip,) = made_up.chips(["7"])
    ours = predict_logits(trained.network, trained.normalize, chip)
    np.testing.assert_allclose(predict_logits(bundle.network, trained.normalize, chip), ours)
    found = bf16_agreement(bundle, made_up, HELD_OUT)
    assert found.share is not None
    assert found.share > 0.98
    assert found.pixels == sum(chip.valid.sum() for chip in made_up.chips(HELD_OUT))


class Large:
    """Chips of 300 x 400, of which only the lower right corner is valid."""

    bands = ("VV", "VH")

    def __init__(self):
        self.read = []

    def chips(self, names):
        for name in names:
            self.read.append(name)
            image = np.full((2, 300, 400), np.nan, np.float32)
            image[:, 200:, 200:] = np.random.default_rng(int(name)).normal(-10, 3, (2, 100, 200))
            yield Chip(name=name, image=image, label=np.zeros((300, 400), np.int64))


def test_the_agreement_is_measured_over_few_pixels_that_are_valid(tmp_path, monkeypatch):
    spec = random_spec(("VV", "VH"), unit="dB", width=4, depth=2)
    bundle = load_bundle(random_bundle(tmp_path / "m.geounet", spec))
    source, names = Large(), [str(i) for i in range(40)]
    computed = []
    logits = TorchEngine.logits

    def watched(self, tiles, valid):
        computed.append(tiles[0, 0].size)
        return logits(self, tiles, valid)

    monkeypatch.setattr(TorchEngine, "logits", watched)
    found = bf16_agreement(bundle, source, names, most=200_000)
    assert sum(computed) <= 2 * 200_000
    assert len(source.read) > 3
    assert int(source.read[-1]) > 25  # spread over all of them
    assert found.pixels == len(source.read) * 128 * 100
    computed.clear()
    few = bf16_agreement(bundle, source, names, most=0)
    assert len(computed) == 2
    assert few.pixels == 128 * 100


def test_the_engines_agree(tmp_path):
    spec = random_spec(("VV", "VH"), unit="dB", width=4, depth=2)
    bundle = load_bundle(random_bundle(tmp_path / "m.geounet", spec))
    found = openvino_agreement(bundle, Large(), ["1", "2"])
    assert found.share == 1
    assert found.pixels == 2 * 128 * 100
    assert 0 < found.largest < 1e-4


def test_an_agreement_over_nothing_is_unknown():
    assert Agreement(same=0, pixels=0, largest=0).share is None
    assert Agreement(same=1, pixels=3, largest=0).share == 0.333333


def test_the_threshold_is_folded_into_the_bias(made_up, recipe):
    trained = fit(recipe, made_up, TRAINING, seed=0)
    best = iou(trained, made_up, TRAINING)
    trained.network.head.bias.data[1] += 9.0  # far off
    assert iou(trained, made_up, TRAINING) < best
    fold_threshold(trained.network, trained.normalize, made_up, TRAINING)
    assert iou(trained, made_up, TRAINING) >= best - 0.01


def test_whitening_decorrelates_and_folds_away(made_up, recipe):
    normalize = Normalize(statistics_of(made_up, TRAINING, recipe.clip).bands, recipe.clip)
    matrix = whitening(made_up, TRAINING, normalize)
    (chip,) = made_up.chips(["0"])
    x = normalize(torch.from_numpy(chip.image)[None])
    mixed = torch.einsum("ij,bjhw->bihw", matrix, x)[0].flatten(1)
    assert torch.cov(mixed)[0, 1].abs() < 0.1
    assert torch.cov(x[0].flatten(1))[0, 1].abs() > 0.8
    whitened = Whitened(build(recipe.arch, 2, 2).eval(), matrix)
    expected = whitened(x)
    torch.testing.assert_close(whitened.fold()(x), expected, atol=1e-4, rtol=1e-4)


def test_a_warm_start_classifies_single_pixels(made_up, recipe):
    recipe = replace(recipe, pixel_steps=60, steps=1, learning_rate=1e-9, ema=0.0)
    recipe = replace(recipe, freeze_norms=True)
    trained = fit(recipe, made_up, TRAINING, seed=0)
    assert iou(trained, made_up, HELD_OUT) > 0.9
    (chip,) = made_up.chips(["0"])
    moved = Chip(name="moved", image=np.roll(chip.image, 7, axis=2), label=chip.label)
    before, after = (predict_logits(trained.network, trained.normalize, c) for c in (chip, moved))
    np.testing.assert_allclose(np.roll(before, 7, axis=2), after, atol=1e-3)


def test_a_warm_start_on_patches_sees_nine_by_nine_pixels(made_up, recipe):
    recipe = replace(recipe, pixel_steps=60, patch_steps=20, steps=1, learning_rate=1e-9, ema=0.0)
    trained = fit(replace(recipe, freeze_norms=True), made_up, TRAINING, seed=0)
    assert iou(trained, made_up, HELD_OUT) > 0.95
    (chip,) = made_up.chips(["0"])
    image = chip.image.copy()
    image[:, 30, 20] += 5
    changed = Chip(name="changed", image=image, label=chip.label)
    before, after = (predict_logits(trained.network, trained.normalize, c) for c in (chip, changed))
    rows, cols = np.nonzero(np.abs(before - after).max(axis=0) > 1e-3)
    assert 26 <= rows.min() < 30 < rows.max() <= 34
    assert 16 <= cols.min() < 20 < cols.max() <= 24


def test_patches_are_what_lies_around_labelled_pixels(made_up):
    chips = list(made_up.chips(["0", "7"]))
    pool = PatchPool(chips, reach=3)
    assert len(pool) == sum(int(chip.scored.sum()) for chip in chips)
    mirrored = np.pad(chips[1].image[0], 3, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(mirrored, (5, 5))[1:-1, 1:-1]
    torch.manual_seed(0)
    image, label = pool.draw(200, reach=2)
    assert image.shape == (200, 2, 5, 5)
    assert (label[:, 2, 2] != IGNORE).all()
    assert image[:, :, 2, 2].isfinite().all()
    found = 0
    for patch in image[:, 0].numpy():
        where = np.argwhere(chips[1].image[0] == patch[2, 2])
        found += len(where)
        for row, col in where:
            np.testing.assert_array_equal(windows[row, col], patch)
    assert 50 < found < 150  # the rest is of the other chip


def test_the_margin_of_a_patch_is_not_in_the_loss(made_up, recipe):
    module = SegmentationModule(
        replace(recipe, margin=8),
        Whitened(build(recipe.arch, 2, 2).eval(), torch.eye(2)),
        torch.nn.Identity(),
        SegmentationLoss(recipe, [0.5, 0.5]),
    )
    (chip,) = made_up.chips(["1"])
    image, label = torch.from_numpy(chip.image)[None], torch.from_numpy(chip.label)[None]
    other, inner = 1 - label, label.clone()
    other[:, 8:-8, 8:-8] = inner[:, 8:-8, 8:-8]
    assert torch.equal(*(module.training_step((image, x), 0) for x in (label, other)))
    inner[:, 8, 8] = 1 - inner[:, 8, 8]
    assert not torch.equal(*(module.training_step((image, x), 0) for x in (label, inner)))


def test_frozen_norms_keep_their_statistics(made_up, recipe):
    recipe = replace(recipe, freeze_norms=True, ema=0.0)
    short = fit(replace(recipe, steps=1), made_up, TRAINING, seed=0)
    long = fit(replace(recipe, steps=5), made_up, TRAINING, seed=0)
    pairs = zip(batch_norms(short.network), batch_norms(long.network), strict=True)
    assert all(torch.equal(a.running_mean, b.running_mean) for a, b in pairs)
    assert iou(fit(recipe, made_up, TRAINING, seed=0), made_up, HELD_OUT) > 0.9


def test_ignored_pixels_do_not_count_in_the_loss(recipe):
    loss = SegmentationLoss(recipe, [0.5, 0.5])
    torch.manual_seed(0)
    logits, label = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 8, 8))
    label[:, :3] = IGNORE
    other = logits.clone()
    other[:, :, :3] = 7.0
    assert float(loss(logits, label)) == pytest.approx(float(loss(other, label)), abs=1e-6)
    assert torch.isfinite(loss(logits, torch.full_like(label, IGNORE)))


def test_class_weights():
    assert class_weights([0.9, 0.1], 0).tolist() == pytest.approx([1, 1])
    rare = class_weights([0.9, 0.1, 0.0], 0.5)
    assert float(rare[1] / rare[0]) == pytest.approx(3)
    assert float(rare[2]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps 0"),
        ({"epochs": 0}, "epochs 0"),
        ({"loss": "ce+hinge"}, "'hinge' is not one of"),
        ({"loss": "ce+ce"}, "ce is there twice"),
        ({"loss": "-1*ce"}, "factor '-1' of ce"),
        ({"loss": "x*ce"}, "factor 'x' of ce"),
        ({"optimizer": "sgd"}, "choose adam or adamw"),
        ({"schedule": "step"}, "choose one-cycle or cosine"),
        ({"margin": 64}, "margin of 64"),
        ({"learning_rate": 0.0}, "learning rate 0.0"),
        ({"ema": 1.0}, "ema 1.0"),
    ],
)
def test_a_recipe_that_cannot_be(wrong, message):
    from geounet.train.recipe import Augmentation

    arch = ArchSpec(name="unet", width=4, depth=2)
    with pytest.raises(OptionError, match=message):
        Recipe(
            **{
                "name": "x",
                "arch": arch,
                "clip": (0.0, 1.0),
                "augmentation": Augmentation(),
                "steps": 1,
                **wrong,
            }
        )
