"""What GDAL is told, and asked, of remote files; and what it does not say by itself."""

from __future__ import annotations

import logging
import os
import threading

import numpy as np
import pytest
import rasterio
import rasters
from web_server import serve

from geounet.errors import UnreachableError
from geounet.gdalenv import REMOTE, read_env
from geounet.scene import open_scene
from geounet.scene.remote import Watch
from geounet.signalled import signalled
from geounet.vsi import Answer, Stamp, ask
from geounet.window import Window


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A few short retries; proxies of the environment must not see the loopback."""
    for name, value in {
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "GDAL_HTTP_MAX_RETRY": "2",
        "GDAL_HTTP_RETRY_DELAY": "0.01",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(5).integers(1, 255, (1, 1024, 1024)).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    """So many blocks that the table of them is longer than what GDAL reads at first."""
    folder = tmp_path_factory.mktemp("served")
    tiny = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    rasters.write(folder / "many.tif", data, compress="deflate", nodata=0, **tiny)
    rasters.write(folder / "plain.tif", data, nodata=0, **tiny)
    shape = {"height": 1024, "width": 1024, "count": 1, "dtype": "uint8"}
    with rasterio.open(folder / "front.tif", "w", **rasters.UTM, **shape, **tiny) as front:
        front.write(data)  # and nothing more: the header stays where it is
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        mask = np.ones(data.shape[1:], bool)
        mask[:100] = False
        rasters.write(folder / "masked.tif", data, mask=mask, tags={"a": "b"})
    return folder


@pytest.fixture(scope="module")
def site(folder):
    with serve(folder) as found:
        yield found


BELOW = Window(row_off=960, col_off=0, height=64, width=1024)


@pytest.mark.parametrize("name", ["many.tif", "plain.tif"])
@pytest.mark.parametrize("mode", ["busy_for_long", "cut", "short", "reset"])
def test_blocks_are_not_taken_for_empty_without_their_table(site, data, mode, name):
    """GDAL returns zeros where the table cannot be fetched, and raises nothing."""
    scene = open_scene(site.address(mode, name))
    found = scene.read(BELOW, [1])
    scene.close()
    np.testing.assert_array_equal(found.data[0], data[0, 960:])
    assert found.valid.all()


def test_a_table_that_cannot_be_fetched_is_an_error(site):
    address = site.address("no_table", "front.tif")
    scene = open_scene(address)
    assert scene.info.height == 1024
    with pytest.raises(UnreachableError, match=r"rows 960 to 1023: .*[Cc]annot read.*try again"):
        scene.read(BELOW, [1])
    scene.close()


@pytest.mark.parametrize("mode", ["busy_for_long", "cut", "short"])
def test_a_mask_is_not_lost(site, mode):
    scene = open_scene(site.address(mode, "masked.tif"))
    valid = scene.read(scene.info.window, [1]).valid
    scene.close()
    assert not valid[:100].any()
    assert valid[100:].all()


def test_a_vrt_of_remote_files_is_tried_again(site, data, tmp_path):
    address = site.address("cut", "many.tif")
    vrt = f"""<VRTDataset rasterXSize="1024" rasterYSize="1024"><VRTRasterBand dataType="Byte"
        band="1"><SimpleSource><SourceFilename>/vsicurl/{address}</SourceFilename><SourceBand>1
        </SourceBand><SourceProperties RasterXSize="1024" RasterYSize="1024" DataType="Byte"
        BlockXSize="16" BlockYSize="16"/></SimpleSource></VRTRasterBand></VRTDataset>"""
    (tmp_path / "a.vrt").write_text(vrt)
    scene = open_scene(tmp_path / "a.vrt")
    assert scene.info.is_remote
    np.testing.assert_array_equal(scene.read(BELOW, [1]).data[0], data[0, 960:])
    scene.close()


def test_several_threads_each_get_their_pixels(site, data):
    scene, found = open_scene(site.address("cut", "many.tif")), {}

    def read(row):
        window = Window(row_off=row, col_off=0, height=64, width=1024)
        found[row] = scene.read(window, [1]).data[0]

    threads = [threading.Thread(target=read, args=(row,)) for row in range(0, 1024, 256)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scene.close()
    assert sorted(found) == list(range(0, 1024, 256))
    for row, pixels in found.items():
        np.testing.assert_array_equal(pixels, data[0, row : row + 64])


@pytest.mark.parametrize(
    ("scheme", "variables"),
    [
        (
            "s3",
            {
                "AWS_S3_ENDPOINT": "{host}",
                "AWS_HTTPS": "NO",
                "AWS_VIRTUAL_HOSTING": "FALSE",
                "AWS_ACCESS_KEY_ID": "id",
                "AWS_SECRET_ACCESS_KEY": "s3cr3t",
            },
        ),
        ("gs", {"CPL_GS_ENDPOINT": "http://{host}/", "GS_NO_SIGN_REQUEST": "YES"}),
        (
            "az",
            {
                "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=http;AccountName=id;"
                "AccountKey=czNjcjN0;BlobEndpoint=http://{host}/fine"
            },
        ),
    ],
)
def test_buckets_with_gdals_own_variables(site, data, monkeypatch, scheme, variables):
    """Of a server that speaks as little as is needed to read."""
    host, _, place = site.address("fine", "many.tif").removeprefix("http://").partition("/")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(host=host))
    address = f"{scheme}://{place.removeprefix('fine/') if scheme == 'az' else place}"
    scene = open_scene(address)
    np.testing.assert_array_equal(scene.read(BELOW, [1]).data[0], data[0, 960:])
    scene.close()
    gone = address.replace("many", "gone")
    with pytest.raises(
        UnreachableError, match=rf"^{gone} cannot be opened .* 404\): check the addr"
    ):
        open_scene(gone).info  # noqa: B018
    signed = [r.headers.get("Authorization", "") for r in site.log(f"http://{host}/{place}")]
    assert all(bool(text) is (scheme != "gs") for text in signed)


def test_denied_buckets_name_the_variables(site, monkeypatch):
    host, _, place = site.address("forbidden", "many.tif").removeprefix("http://").partition("/")
    monkeypatch.setenv("AWS_S3_ENDPOINT", host)
    for name in ("AWS_NO_SIGN_REQUEST", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING"):
        monkeypatch.setenv(name, "YES" if name == "AWS_NO_SIGN_REQUEST" else "NO")
    with pytest.raises(UnreachableError, match=r"403.* check the credentials \(AWS_ACCESS_KEY_ID"):
        open_scene(f"s3://{place}").info  # noqa: B018


def test_variables_of_the_user_come_first(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "7")
    before = dict(os.environ)
    with read_env("https://x.org/a.tif"):
        options = rasterio.env.getenv()
        assert "GDAL_HTTP_CONNECTTIMEOUT" not in options
        assert options["GDAL_HTTP_LOW_SPEED_TIME"] == REMOTE["GDAL_HTTP_LOW_SPEED_TIME"]
        assert dict(os.environ) == before
    assert not rasterio.env.hasenv()


def test_stamps():
    stamp = Stamp(etag='"1"', modified="Monday", size="9")
    assert not stamp.differs(stamp)
    assert not stamp.differs(Stamp())
    assert not stamp.differs(Stamp(etag='"other node"', modified="Monday", size="9"))
    assert not stamp.differs(Stamp(etag='"1"', modified="copied on Tuesday", size="9"))
    assert stamp.differs(Stamp(etag='"2"', modified="Tuesday", size="9"))
    assert stamp.differs(Stamp(etag='"1"', modified="Monday", size="8"))
    assert Stamp(size="9").is_sure is False


def test_asking(site):
    fine = ask(f"/vsicurl/{site.address('fine', 'many.tif')}")
    assert (fine.status, fine.stamp.etag, fine.is_final) == (200, '"many.tif-1"', False)
    assert int(fine.stamp.size) > 0
    gone = ask(f"/vsicurl/{site.address('fine', 'gone.tif')}")
    assert (gone.status, gone.is_final) == (404, True)
    busy = ask(f"/vsicurl/{site.address('always_busy', 'many.tif')}")
    assert (busy.status, busy.is_final) == (503, False)
    assert ask(f"/vsicurl/{site.address('signed', 'many.tif')}").stamp == fine.stamp
    assert ask("/vsicurl/http://127.0.0.1:9/a.tif").status is None
    assert Answer().stamp == Stamp()


def test_local_files_are_not_watched(folder):
    Watch([str(folder / "many.tif")]).check()
    assert Watch([str(folder / "many.tif")]).stamp(str(folder / "many.tif")) is None


def test_logs_say_what_they_said_before_and_no_secrets(site, caplog):
    """What rasterio notes is listened to at a level at which it is not shown."""
    address = site.address("busy", "many.tif?sig=s3cr3t")
    scene = open_scene(address)
    scene.info  # noqa: B018
    scene.close()
    assert "sig=***" in caplog.text  # GDAL warns of each retry
    assert "s3cr3t" not in caplog.text
    assert all(record.levelno >= logging.WARNING for record in caplog.records)


def test_what_is_signalled_in_other_threads_is_not_heard():
    log = logging.getLogger("rasterio._err")
    line = "GDAL signalled an error: err_no=%r, msg=%r"
    with signalled() as heard:
        other = threading.Thread(target=log.info, args=(line, 1, "cannot read here"))
        other.start()
        other.join()
        log.info(line, 1, "Cannot read offset/size for strile around ~0")
        log.info(line, 1, "no such EPSG code")
        log.warning("Cannot read, says a warning")
    log.info(line, 1, "cannot read later")
    assert heard == ["Cannot read offset/size for strile around ~0"]
