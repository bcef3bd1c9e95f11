"""How remote files are spelled, and that what is secret in it is not shown."""

from __future__ import annotations

import pytest

from geounet.address import bare, gdal_path, is_remote, remote_files, shown
from geounet.scene.geotiff import short_name


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("https://x.org/a.tif", True),
        ("HTTPS://x.org/a.tif", True),
        ("s3://bucket/a.tif", True),
        ("/vsicurl/https://x.org/a.tif", True),
        ("/vsicurl?url=https%3A%2F%2Fx.org%2Fa.tif", True),
        ("/vsis3_streaming/b/a.tif", True),
        ("/vsizip/vsicurl/https://x.org/a.zip/a.tif", True),
        ("/vsizip/a.zip/a.tif", False),
        ("a.tif", False),
        ("zip+https://x.org/a.zip!b.tif", True),
        ('NETCDF:"https://x.org/a.nc":b', True),
        ("/data/http/a.tif", False),
        ("/data/gs/a.tif", False),
        ("C:/data/a.tif", False),
    ],
)
def test_is_remote(path, remote):
    assert is_remote(path) is remote


@pytest.mark.parametrize(
    ("path", "gdals"),
    [
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif"),
        ("az://container/b.tif", "/vsiaz/container/b.tif"),
        ("https://x.org/b.tif?sig=1", "/vsicurl/https://x.org/b.tif?sig=1"),
        ("/vsis3/bucket/b.tif", "/vsis3/bucket/b.tif"),
        ("zip+https://x.org/a.zip!b.tif", "zip+https://x.org/a.zip!b.tif"),
        ("a.tif", "a.tif"),
        ("file:///a.tif", "file:///a.tif"),
    ],
)
def test_gdals_own_path(path, gdals):
    assert gdal_path(path) == gdals


def test_what_is_fetched():
    archive = "/vsizip//vsicurl/https://x.org/a.zip/b.tif"
    assert remote_files(["a.tif", "s3://b/c.tif", archive, "/vsis3/b/c.tif"]) == [
        "/vsis3/b/c.tif",
        "/vsicurl/https://x.org/a.zip",
    ]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("https://x.org/a.tif", "https://x.org/a.tif"),
        ("https://me:word@x.org/a.tif", "https://x.org/a.tif"),
        ("https://x.org/a.tif?sig=s3cr3t%2F&se=1", "https://x.org/a.tif?sig=***&se=***"),
        ("/vsicurl/https://x.org/a.tif?s3cr3t", "/vsicurl/https://x.org/a.tif?***"),
        (
            "/vsicurl?header.Authorization=s3cr3t&url=https%3A%2F%2Fx.org%2Fa.tif%3Fsig%3Ds3cr3t",
            "https://x.org/a.tif?sig=***",
        ),
        (
            "'/vsicurl/https://x.org/a.tif?sig=s3cr3t' not recognized as a format?",
            "'/vsicurl/https://x.org/a.tif?sig=***' not recognized as a format?",
        ),
        (
            "HTTP error code: 503 - http://x.org/?a=b. Try",
            "HTTP error code: 503 - http://x.org/?a=*** Try",
        ),
        ("is it a file? of x=1", "is it a file? of x=1"),
    ],
)
def test_secrets_are_not_shown(path, told):
    assert shown(path) == told


def test_the_same_place_however_it_is_signed():
    one, other = "https://a:b@x.org/a.tif?sig=1", "https://x.org/a.tif?sig=2&se=3"
    assert bare(one) == bare(other) == "https://x.org/a.tif"


def test_names_hold_no_secrets():
    assert short_name("https://x.org/scene.tif?key=a/s3cr3t") == "scene"
