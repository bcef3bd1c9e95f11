"""Batches into a bucket: real processes, S3's protocol on loopback; ``make test-bucket``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import rasters
from batches import NAMES, noise, segmented
from bucket_server import BUCKET, BucketServer, serving

pytest.importorskip("distributed")
pytest.importorskip("s3fs", reason="s3fs is not installed: `make test-bucket` does that")
pytest.importorskip("moto.server", reason="moto is not installed: `make test-bucket` does that")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TILE = 128


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _heals(server) -> Iterator[None]:
    yield
    server.refuses = lambda _method, _path: False


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> list[Path]:
    """One that is cut into bands, and a small one."""
    folder = tmp_path_factory.mktemp("scenes")
    return [
        rasters.write(folder / f"{name}.tif", noise(seed, height, 2000), names=NAMES)
        for seed, (name, height) in enumerate({"wide": 2300, "low": 200}.items())
    ]


@pytest.fixture(scope="module")
def model(batch_models) -> Path:
    return batch_models["exact"]


@pytest.fixture(scope="module")
def expected(scenes, model, tmp_path_factory) -> dict[str, bytes]:
    """Class maps, layers, confidence and sidecars of ``geounet segment``."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    return segmented(folder, scenes, model, tile=TILE, confidence=True)


class Batch:
    """``geounet batch`` into a prefix of its own."""

    def __init__(self, server: BucketServer, prefix: str, model: Path, temporary: Path) -> None:
        self.server, self.prefix, self.model = server, prefix, model
        self.address = f"s3://{BUCKET}/{prefix}"
        self.temporary = temporary
        temporary.mkdir()

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        argv = ["batch", "-o", self.address, "-m", self.model, "--tile", TILE, "--workers", 2]
        env = os.environ | self.server.environment | {"TMPDIR": str(self.temporary)} | environment
        return subprocess.Popen(
            [sys.executable, "-m", "geounet_cli", *map(str, [*argv, *arguments])],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: object, **environment: str) -> tuple[int, str]:
        """Exit status and stderr."""
        with self.start(*arguments, **environment) as process:
            _, stderr = process.communicate(timeout=400)
        return process.returncode, stderr

    def outputs(self) -> dict[str, bytes]:
        """All but the manifest."""
        found = self.server.objects(self.prefix)
        found.pop("manifest.jsonl", None)
        return found

    def rows(self) -> list[dict[str, object]]:
        text = self.server.objects(self.prefix)["manifest.jsonl"].decode()
        return [json.loads(line) for line in text.splitlines()]

    def strips(self) -> list[str]:
        return [name for name in self.server.objects(self.prefix) if name.endswith(".strip")]

    def left(self) -> list[Path]:
        """Temporary files here."""
        return list(self.temporary.glob("geounet-*"))

    @contextmanager
    def begun(self, *arguments: object, after: int = 2) -> Iterator[subprocess.Popen[str]]:
        """One that has computed something."""
        with self.start(*arguments) as process:
            try:
                while len(self.strips()) < after and process.poll() is None:
                    time.sleep(0.01)
                yield process
            finally:
                process.kill()


@pytest.fixture
def batch(server, model, tmp_path, request) -> Batch:
    return Batch(server, request.node.name, model, tmp_path / "tmp")


def is_class_map(path: str) -> bool:
    return path.endswith(".random.tif")


def test_the_bytes_of_segment_and_nothing_else(batch, scenes, expected) -> None:
    code, said = batch.run(*scenes, "--confidence")
    assert (code, said) == (0, "")
    assert batch.outputs() == expected
    assert batch.left() == []
    rows = batch.rows()
    done = [row for row in rows if row["state"] == "done" and row["rows"] is None]
    assert {row["scene"] for row in done} == set(map(str, scenes))
    assert any(row["rows"] for row in rows)
    sent = [path.split("/")[-1] for method, path in batch.server.heard if method == "PUT"]
    made = [name for name in sent if name.startswith("low.")]
    assert made[-1] == "low.random.tif"

    code, said = batch.run(*scenes, "--confidence", "--json")
    assert (code, said) == (0, "")
    assert [row["state"] for row in batch.rows()[len(rows) :]] == ["kept", "kept"]
    assert batch.outputs() == expected

    code, said = batch.run(*scenes, "--confidence", "--smooth")
    assert code == 1
    assert f"{batch.address}/wide.random.tif exists, and --smooth changed since it was made" in said
    assert batch.outputs() == expected


def test_the_driver_is_killed_and_goes_on(batch, scenes, expected) -> None:
    with batch.begun(scenes[0], "--confidence") as process:
        process.kill()
    done = len(batch.strips())
    assert done >= 2
    assert not any(map(is_class_map, batch.outputs()))
    code, said = batch.run(scenes[0], "--confidence")
    assert code == 0
    assert "an earlier run of wide.random.tif was interrupted: going on with" in said
    ours = {name: content for name, content in expected.items() if name.startswith("wide.")}
    assert batch.outputs() == ours
    assert batch.left() == []


def test_a_change_is_noticed(batch, scenes, expected) -> None:
    with batch.begun(scenes[0], "--confidence", "--no-polygons") as process:
        process.kill()
    code, said = batch.run(scenes[0], "--no-polygons")
    assert code == 0
    assert "was interrupted, and --confidence changed since then: starting anew" in said
    names = ["wide.random.qml", "wide.random.tif", "wide.random.tif.aux.xml"]
    assert sorted(batch.outputs()) == names
    assert batch.outputs()["wide.random.tif"] == expected["wide.random.tif"]


def test_items_and_a_mosaic(batch, scenes, expected) -> None:
    arguments = (*scenes, "--confidence", "--stac", "--mosaic", f"{batch.address}/all.tif")
    code, said = batch.run(*arguments)
    assert code == 0, said
    assert f"items in {batch.address}/collection.json" in said
    found = batch.outputs()
    assert found.items() >= expected.items()
    more = ["all.gpkg", "all.json", "all.qml", "all.tif", "all.tif.aux.xml", "collection.json"]
    more += ["items.json", "low.random.json", "wide.random.json"]
    assert sorted(found.keys() - expected.keys()) == more
    item = json.loads(found["wide.random.json"])
    assert item["assets"]["polygons"]["file:size"] == len(expected["wide.random.gpkg"])
    assert item["collection"] == batch.prefix
    assert [link["href"] for link in item["links"] if link["rel"] == "derived_from"] == [
        scenes[0].as_uri()
    ]
    mosaic = json.loads(found["all.json"])
    hrefs = [link["href"] for link in mosaic["links"] if link["rel"] == "derived_from"]
    assert hrefs == ["wide.random.json", "low.random.json"]

    code, said = batch.run(*arguments)
    assert code == 0
    assert f"{batch.address}/all.tif is there, of the same class maps" in said


def test_bad_answers_are_asked_again_and_one_scene_costs_no_other(batch, scenes, expected) -> None:
    slow: set[str] = set()

    def refuses(method: str, path: str) -> bool:
        """Each strip once; the class map of the small scene always."""
        if method == "PUT" and path.endswith(".strip") and path not in slow:
            slow.add(path)
            return True
        return method == "PUT" and path.endswith("low.random.tif")

    batch.server.refuses = refuses
    code, said = batch.run(*scenes, "--confidence", "--max-retries", 1)
    assert code == 1
    assert len(said.splitlines()) == 1
    assert said.startswith(f"geounet: {scenes[1]} failed: -o {batch.address} cannot be reached")
    wide = {name: content for name, content in expected.items() if name.startswith("wide.")}
    assert batch.outputs().items() >= wide.items()
    assert "low.random.tif" not in batch.outputs()
    states = [row["state"] for row in batch.rows() if row["scene"] == str(scenes[1])]
    assert states == ["again", "failed"]

    batch.server.refuses = lambda _method, _path: False
    code, said = batch.run(*scenes, "--confidence")
    assert code == 0
    assert batch.outputs() == expected


def test_what_is_not_ours_is_not_replaced(batch, scenes) -> None:
    from geounet.batch.objects import Objects

    with pytest.MonkeyPatch.context() as patch:
        for name, value in batch.server.environment.items():
            patch.setenv(name, value)
        Objects(batch.address).write("low.random.tif", b"mine")
    code, said = batch.run(scenes[1])
    assert code == 2
    assert said == (
        f"geounet: low.random.tif exist in {batch.address}, and are not what this batch made: pass"
        " --overwrite to replace them, or give another folder with -o\n"
    )
    assert batch.outputs() == {"low.random.tif": b"mine"}


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("address", "environment", "wanted"),
    [
        ("s3://nobodys/maps", {}, "there is no such bucket: make it, or check its name"),
        ("s3://maps/a", {"AWS_ENDPOINT_URL": NOWHERE}, "cannot be reached (EndpointConnectionE"),
        (
            "s3://maps/b",
            {"AWS_ACCESS_KEY_ID": "", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"},
            "access is refused (",
        ),
        ("gs://maps/c", {}, "needs gcsfs, which is not installed here: pip install gcsfs"),
        ("nope://maps/d", {}, "no such kind of address is known"),
    ],
)
def test_one_line_says_what_is_wrong(batch, scenes, address, environment, wanted) -> None:
    if address.startswith("gs:") and _is_there("gcsfs"):
        pytest.skip("gcsfs is installed")
    batch.address = address
    code, said = batch.run(scenes[1], **environment)
    assert code == 2
    assert said.startswith(f"geounet: -o {address}")
    assert wanted in said
    assert said.count("\n") == 1


def _is_there(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
