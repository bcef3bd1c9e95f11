from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from geounet.classes import ClassDef, ClassScheme
from geounet.errors import OutputError
from geounet.train.report.charts import bar, dots, nice_ticks
from geounet.train.report.page import TrainingReport, curves, write_report
from geounet.train.report.pictures import pictures
from geounet.train.run import EpochRecord
from geounet.train.scoring.bootstrap import Estimate
from geounet.train.scoring.gallery import Gallery, Patch
from geounet.train.scoring.scores import score
from geounet.train.source import IGNORE, Chip

pytestmark = pytest.mark.train

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed, and collects what they say."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.words, self.tags = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


class Few:
    bands = ("grey",)

    def __init__(self, classes, groups=4):
        self.classes = ClassScheme(
            classes=tuple(
                ClassDef(code=i, name=f"<class {i}>", color=f"#00{i}0ff") for i in range(classes)
            )
        )
        self.groups = tuple((f"chip&{i}",) for i in range(groups))

    def chips(self, names):
        for name in names:
            rng = np.random.default_rng(int(name[5:]))
            label = np.kron(rng.integers(0, len(self.classes), (4, 4)), np.ones((8, 8), np.int64))
            label[0, :] = IGNORE
            image = rng.normal(size=(1, 32, 32)).astype(np.float32)
            yield Chip(name=name, image=image, label=label)

    def predict(self, chip):
        rng = np.random.default_rng(1)
        return rng.normal(size=(len(self.classes), *chip.label.shape)).astype(np.float32)


def report_of(source, **more):
    gallery = Gallery(bands=source.bands, groups=source.groups, count=2)
    names = [name for group in source.groups for name in group]
    scores = score(source.predict, source, names, watch=gallery, draws=50)
    return TrainingReport(
        title="<model>",
        summary="A & B",
        classes=source.classes,
        scores=scores,
        best=gallery.best,
        worst=gallery.worst,
        **more,
    )


def epoch(i, **more):
    return EpochRecord(epoch=i, loss=1 / (i + 1), learning_rate=0.1, seconds=5, pixels=10, **more)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_page_is_whole_and_needs_nothing_from_outside(classes):
    history = [epoch(i, val_loss=0.5, val_iou=(0.5,) * classes) for i in range(5)]
    report = report_of(
        Few(classes),
        history=history,
        best_epoch=3,
        notes=["<note>"],
        config={"arch": {"name": "unet", "width": 32}, "bands": ["a", "b"]},
        provenance={"command": "geounet train <here>"},
    )
    html = report.html()
    page = Page(html)
    assert page.sources
    assert all(s.startswith("data:image/") for s in page.sources)
    assert not re.search(r"https?://|url\(|@import|<script|<link", html)
    assert page.tags.count("img") == 4 * 4
    for said in ("<model>", "A & B", "<class 1>", "chip&0", "<note>", "arch.name", "a, b"):
        assert said in page.text
    assert "geounet train <here>" in page.text
    assert "The weights of epoch 4 (dashed) were kept." in page.text
    assert ("area under ROC" in page.text) == (classes == 2)
    assert f"{report.scores.mean_iou.value:.3f}" in page.text


def test_a_part_without_content_is_left_out():
    report = report_of(Few(2, groups=1))
    page = Page(report.html())
    for absent in ("Training", "Settings", "Provenance", "Groups"):
        assert absent not in page.text
    assert "there is no interval over groups" in page.text


def test_the_page_is_dark_where_the_room_is():
    html = report_of(Few(2)).html()
    assert "prefers-color-scheme: dark" in html
    used = set(re.findall(r"var\((--\w+)\)", html)) - {"--a"}
    light, dark = html.split("prefers-color-scheme: dark")
    assert all(f"{name}:" in light for name in used)
    assert all(f"{name}:" in dark for name in used)


def picture(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_the_pictures_of_a_patch_show_what_they_say():
    scheme = Few(2).classes
    label = np.array([[0, 0, 1, 1, IGNORE]], np.int16).repeat(3, axis=0)
    predicted = np.array([[0, 1, 0, 1, 1]], np.int16).repeat(3, axis=0)
    rgb = np.full((3, 5, 3), 200, np.uint8)
    patch = Patch(chip="x", corner=(0, 0), picture=rgb, label=label, predicted=predicted, score=0.3)
    shown = {name: np.asarray(picture(uri).convert("RGB")) for name, uri in pictures(patch, scheme)}
    none, first, second = (128, 128, 128), (0, 0, 0xFF), (0, 0x10, 0xFF)
    assert (shown["image"] == rgb).all()
    assert list(map(tuple, shown["truth"][1])) == [first, first, second, second, none]
    assert list(map(tuple, shown["prediction"][1])) == [first, second, first, second, none]
    error = list(map(tuple, shown["error"][1]))
    assert error[1] == (0xFF, 0xB0, 0)
    assert error[2] == (0xDC, 0x26, 0x7F)
    assert len({error[0], error[3], error[4]}) == 1
    assert len(set(error[0])) == 1  # grey
    assert patch.wrong == 0.5


def test_curves_leave_gaps_and_stand_without_validation():
    scheme = Few(2).classes
    assert curves([], scheme) == ""
    one = curves([epoch(0)], scheme)
    assert "circle" in one
    assert "validation chips" not in one
    gap = [epoch(i, val_iou=(0.5, 0.4 if i != 2 else float("nan"))) for i in range(6)]
    assert curves(gap, scheme).count('<polyline class="line"') == 1 + 1 + 2 + 1
    assert "nan" not in curves(gap, scheme)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.31, 0.35), (5, 5), (0, 0), (-3, 12_000), (1e-9, 3e-9)]
)
def test_ticks_are_even_and_enclose_the_values(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1] + 1e-12
    assert 2 <= len(ticks) <= 8
    steps = np.diff(ticks)
    assert steps == pytest.approx(steps[0])
    assert steps[0] > 0


def test_a_bar_has_a_whisker_where_there_is_an_interval():
    assert bar(Estimate(value=float("nan")), "red") == ""
    assert "path" not in bar(Estimate(value=0.5), "red")
    assert 'd="M44.0' in bar(Estimate(value=0.5, low=0.4, high=0.6), "red")


def test_dots_go_from_worst_to_best():
    chart = dots("t", [("b", 0.9), ("a", 0.1), ("c", float("nan"))])
    assert re.findall(r"<title>(\w): ", chart) == ["a", "b"]
    assert dots("t", [("c", float("nan"))]) == ""


def test_a_report_is_written_once(tmp_path):
    report = report_of(Few(2))
    out = write_report(tmp_path / "r.html", report)
    assert out.read_text(encoding="utf-8") == report.html()
    with pytest.raises(OutputError, match=r"r\.html"):
        write_report(out, report)
    write_report(out, report, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
