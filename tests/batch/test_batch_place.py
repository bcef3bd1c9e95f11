"""Where outputs go; buckets are objects in memory here, and S3's in ``test_batch_bucket.py``."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from geounet.batch.bucket import Bucket
from geounet.batch.bucketstrips import FollowedObjects
from geounet.batch.objects import Objects, mark_of
from geounet.batch.place import folder_of, mosaic_of, place_of
from geounet.errors import ClusterError, OptionError, OutputError
from geounet.parts import Nowhere
from geounet.stitch import Strip
from geounet.window import Window

pytest.importorskip("fsspec")

RASTER = Path("a.random.tif")
DEPENDS = {"the scene": "1", "the model": "2"}


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{uuid.uuid4().hex}")


def strip(row: int, height: int = 4) -> Strip:
    window = Window(row_off=row, col_off=0, height=height, width=5)
    labels, sure = np.full((height, 5), row, np.uint8), np.ones((height, 5), np.uint8)
    return Strip(window=window, labels=labels, confidence=sure)


def run_of(depends: dict[str, str] | None) -> SimpleNamespace:
    return SimpleNamespace(fingerprint=lambda: depends)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("maps", Path("maps")),
        ("C://maps", Path("C://maps")),
        ("file:///data/maps/", Path("/data/maps")),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("S3://Bucket", "s3://Bucket"),
        ("gs://bucket/a/b", "gs://bucket/a/b"),
    ],
)
def test_folders_and_buckets(text, wanted) -> None:
    assert folder_of(text) == wanted


@pytest.mark.parametrize("text", ["https://host/maps", "s3://", "s3:///"])
def test_where_nothing_can_be_written(text) -> None:
    with pytest.raises(OptionError, match=rf"-o {text}: give a folder, or a bucket as in s3://"):
        folder_of(text)


def test_a_mosaic_lies_where_outputs_lie() -> None:
    assert mosaic_of("x/all.tif", Path("maps")) == Path("x/all.tif")
    assert mosaic_of("s3://b/p/all.tif", "s3://b/p") == Path("all.tif")
    assert mosaic_of("all.tif", "s3://b/p") == Path("all.tif")
    with pytest.raises(OptionError, match=r"give s3://b/p/NAME.tif"):
        mosaic_of("s3://b/q/all.tif", "s3://b/p")
    with pytest.raises(OptionError, match="give a path"):
        mosaic_of("s3://b/q/all.tif", Path("maps"))


def test_strips_are_shared_by_what_they_depend_on(bucket) -> None:
    shelf, said = bucket.strips(RASTER), []
    with shelf.planned(run_of(DEPENDS), said.append) as kept:
        assert not kept.has(strip(0).window)
    with shelf.shared(DEPENDS) as kept:
        kept.keep(strip(4))
    assert (said, shelf.has_any()) == ([], True)
    with shelf.planned(run_of(DEPENDS), said.append) as kept:
        assert [kept.has(strip(row).window) for row in (0, 4)] == [False, True]
        read = kept.strip(strip(4).window)
    np.testing.assert_array_equal(read.labels, strip(4).labels)
    np.testing.assert_array_equal(read.confidence, strip(4).confidence)
    earlier = "an earlier run of a.random.tif was interrupted"
    assert said == [f"{earlier}: going on with 4 rows that are finished"]
    with shelf.planned(run_of(DEPENDS | {"the model": "3"}), said.append) as kept:
        assert not kept.has(strip(4).window)
    assert said[1:] == [f"{earlier}, and the model changed since then: starting anew"]
    assert not shelf.has_any()
    shelf.remove()
    assert bucket.objects.found() == {}


def test_a_scene_that_cannot_be_known_again_keeps_nothing(bucket) -> None:
    with bucket.strips(RASTER).planned(run_of(None), print) as kept:
        assert isinstance(kept, Nowhere)


def test_a_strip_that_cannot_be_read_is_made_again(bucket) -> None:
    shelf = bucket.strips(RASTER)
    with shelf.shared(DEPENDS) as kept:
        kept.keep(strip(0))
    (name,) = bucket.objects.found()
    bucket.objects.write(name, b"torn")
    with (
        shelf.planned(run_of(DEPENDS), lambda _: None) as kept,
        pytest.raises(OutputError, match="cannot be read: its rows are to be made again"),
    ):
        kept.strip(strip(0).window)
    assert not shelf.has_any()


def test_who_follows_waits_while_it_is_wanted(bucket, monkeypatch) -> None:
    shelf, asked = bucket.strips(RASTER), []

    def sleep(_seconds: float) -> None:
        asked.append(1)
        with shelf.shared(DEPENDS) as kept:
            kept.keep(strip(0))

    monkeypatch.setattr("geounet.batch.bucketstrips.time.sleep", sleep)
    with shelf.followed(DEPENDS, lambda: True) as followed:
        assert isinstance(followed, FollowedObjects)
        assert (followed.strip(strip(0).window).labels == 0).all()
        assert (len(asked), followed.waited > 0) == (1, True)
        followed.commit()
    assert shelf.is_committing()
    with (
        shelf.followed(DEPENDS, lambda: False) as followed,
        pytest.raises(OutputError, match="is not wanted any more"),
    ):
        followed.strip(strip(4).window)


def test_what_is_made_is_delivered_and_the_class_map_last(bucket, monkeypatch) -> None:
    sent: list[str] = []
    send = Objects.send

    def seen(objects: Objects, path: Path, name: str) -> None:
        sent.append(name)
        send(objects, path, name)

    monkeypatch.setattr(Objects, "send", seen)
    bucket.objects.write("b.json", b"{}")
    bucket.objects.write("b.gpkg", b"12345")
    with bucket.desk([RASTER], sized=[Path("b.gpkg")], ending=".json") as desk:
        assert desk(Path("b.json")).read_bytes() == b"{}"
        assert desk(Path("b.gpkg")).stat().st_size == 5
        folder = desk(RASTER).parent
        for name in ("a.random.tif", "a.random.tif.aux.xml", "a.random.qml"):
            desk(Path(name)).write_bytes(b"x")
        desk.deliver(RASTER)
    assert sent == ["a.random.qml", "a.random.tif.aux.xml", "a.random.tif"]
    assert not folder.exists()
    assert bucket.files([RASTER, Path("none.tif")]) == {"a.random.tif": (1, "")}


def test_what_exists_is_not_replaced(bucket) -> None:
    bucket.objects.write(RASTER.name, b"x")
    with pytest.raises(OutputError, match=re.escape(f"{bucket.address}/{RASTER} exists: pass")):
        bucket.check([RASTER], overwrite=False)
    bucket.check([RASTER], overwrite=True)
    s3 = Bucket("s3://b/p")
    with pytest.raises(OutputError, match=r"s3://b/p/a.random.tif is the scene itself"):
        s3.refuse_inputs([RASTER], ["/vsis3/b/p/a.random.tif"], "the scene")


def test_a_manifest_is_put_as_a_whole_and_what_waits_for_it_comes_after(
    bucket, monkeypatch
) -> None:
    manifest, done = bucket.manifest(), []
    with bucket.taken(manifest, print):
        manifest.add(scene="a", state="done", then=lambda: done.append("a"))
        manifest.add(scene="b", state="done", then=lambda: done.append("b"))
        assert done == ["a"]  # the second within five seconds
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "write", _fails)
            patch.setattr("geounet.batch.bucketmanifest._EACH", 0.0)
            manifest.settle()
        assert done == ["a"]
    assert done == ["a", "b"]
    assert [row["scene"] for row in bucket.manifest().rows()] == ["a", "b"]
    assert list(bucket.objects.found()) == ["manifest.jsonl"]


def _fails(*_: object) -> None:
    raise OutputError("it does not answer")


def test_one_batch_has_a_bucket(bucket) -> None:
    said: list[str] = []
    bucket.objects.write(".batch.lock", b"elsewhere 1")
    first, second = bucket.manifest(), bucket.manifest()
    with suppress(ClusterError), bucket.taken(first, said.append):
        with (
            pytest.raises(OutputError, match="is being filled by another batch"),
            bucket.taken(second, said.append),
        ):
            pass
        bucket.objects.write(".batch.lock", b"third 2")
        with pytest.raises(ClusterError, match="another batch has taken it: this one ends"):
            first.add(scene="a", state="done")
    assert said == [
        f"{bucket.address}: a batch on elsewhere has not ended: this one takes its place"
    ]
    assert list(bucket.objects.found()) == [".batch.lock"]


def test_objects_are_known_by_what_servers_call_them() -> None:
    assert mark_of({"size": 3, "ETag": '"abc"'}) == (3, "abc")
    assert mark_of({"size": 3, "etag": "x", "md5Hash": "y"}) == (3, "x")


def test_places_of_options(tmp_path) -> None:
    assert place_of("s3://b/p") == Bucket("s3://b/p")
    assert place_of(tmp_path).path("a.tif") == tmp_path / "a.tif"
