"""Items as the large catalogues have them, shortened."""

from __future__ import annotations

from typing import Any

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(name: str = "scene", properties: dict[str, Any] | None = None, **assets: Any) -> dict:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": {"datetime": "2023-01-02T03:04:05.678Z", **(properties or {})},
        "geometry": None,
        "links": [],
        "assets": assets,
    }


def earth_search() -> dict:
    """Sentinel-2 of Earth Search, v1: keys are common names, JPEG 2000 beside each."""
    assets = {}
    numbers = {
        "coastal": ("B01", "coastal", 60), "blue": ("B02", "blue", 10),
        "green": ("B03", "green", 10), "red": ("B04", "red", 10),
        "rededge1": ("B05", "rededge", 20), "rededge2": ("B06", "rededge", 20),
        "rededge3": ("B07", "rededge", 20), "nir": ("B08", "nir", 10),
        "nir08": ("B8A", "nir08", 20), "nir09": ("B09", "nir09", 60),
        "swir16": ("B11", "swir16", 20), "swir22": ("B12", "swir22", 20),
    }  # fmt: skip
    for key, (number, common, gsd) in numbers.items():
        said = {
            "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": common}],
            "raster:bands": [
                {"nodata": 0, "scale": 0.0001, "offset": -0.1, "spatial_resolution": gsd}
            ],
        }
        assets[f"{key}-jp2"] = {
            "href": f"{number}.jp2",
            "type": "image/jp2",
            "roles": ["data"],
            **said,
        }
        assets[key] = {
            "href": f"https://x.example/{number}.tif",
            "type": COG,
            "roles": ["data"],
            **said,
        }
    assets["visual"] = {
        "href": "https://x.example/TCI.tif", "type": COG, "roles": ["visual"],
        "eo:bands": [{"common_name": name} for name in ("red", "green", "blue")],
    }  # fmt: skip
    assets["scl"] = {"href": "https://x.example/SCL.tif", "type": COG, "roles": ["data"]}
    assets["thumbnail"] = {"href": "x.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    properties = {"platform": "sentinel-2b", "earthsearch:boa_offset_applied": True}
    return item("S2B_32UNU_20230102_0_L2A", properties, **assets)


def planetary_computer() -> dict:
    """Sentinel-2 of the Planetary Computer: keys are numbers, one common name for four bands."""
    common = {"B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B08": "nir",
              "B11": "swir16", "B12": "swir22"}  # fmt: skip
    assets = {
        key: {
            "href": f"https://y.example/T32_{key}_10m.tif", "type": COG, "roles": ["data"],
            "eo:bands": [{"name": key, "common_name": common.get(key, "rededge")}],
        }
        for key in (*common, "B05", "B06", "B07", "B8A")
    }  # fmt: skip
    assets["visual"] = {
        "href": "https://y.example/TCI.tif", "type": COG, "roles": ["data"],
        "eo:bands": [{"name": n, "common_name": c} for n, c in (("B04", "red"), ("B03", "green"))],
    }  # fmt: skip
    assets["SCL"] = {"href": "https://y.example/SCL.tif", "type": COG, "roles": ["data"]}
    return item("S2A_MSIL2A_20230102", {"platform": "Sentinel-2A"}, **assets)


def copernicus() -> dict:
    """Sentinel-2 of the Copernicus Data Space, STAC 1.1: every band in several resolutions."""
    assets = {
        f"{band}_{gsd}m": {
            "href": f"s3://eodata/{band}_{gsd}m.jp2", "type": "image/jp2", "roles": ["data"],
            "gsd": gsd, "bands": [{"name": band, "eo:common_name": common}],
            "raster:scale": 0.0001, "raster:offset": -0.1,
        }
        for band, common in (("B02", "blue"), ("B11", "swir16"))
        for gsd in (60, 20, 10)
        if (band, gsd) != ("B11", 10)
    }  # fmt: skip
    return item("S2C_X", {"constellation": "sentinel-2"}, **assets)


def landsat() -> dict:
    """Landsat 8, Collection 2: quality bands whose keys name what they are about."""
    assets: dict[str, Any] = {
        "qa_aerosol": {"href": "https://z.example/qa.TIF", "type": COG, "roles": ["data"]},
        "qa_pixel": {
            "href": "https://z.example/p.TIF", "type": COG, "classification:bitfields": [{}],
        },
    }  # fmt: skip
    for key, name in (("coastal", "OLI_B1"), ("blue", "OLI_B2"), ("green", "OLI_B3"),
                      ("red", "OLI_B4"), ("nir08", "OLI_B5"), ("swir16", "OLI_B6"),
                      ("swir22", "OLI_B7"), ("lwir11", "TIRS_B10")):  # fmt: skip
        assets[key] = {
            "href": f"https://z.example/{name}.TIF", "type": COG,
            "eo:bands": [{"name": name, "common_name": key}],
            "raster:bands": [{"scale": 2.75e-05, "offset": -0.2}],
        }  # fmt: skip
    return item("LC08_L2SP_042034_20170616", {"platform": "landsat-8"}, **assets)


def sentinel1() -> dict:
    """Sentinel-1: keys alone say what it is."""
    assets = {
        key: {"href": f"./measurement/iw-{key}.tiff", "type": COG, "roles": ["data"]}
        for key in ("vh", "vv")
    }
    assets["safe-manifest"] = {"href": "./manifest.safe", "type": "application/xml"}
    return item("S1A_IW_GRDH", {"constellation": "Sentinel-1"}, **assets)


def naip() -> dict:
    """One file with four bands."""
    bands = [{"name": n.title(), "common_name": n} for n in ("red", "green", "blue", "nir")]
    image = {"href": "https://n.example/image.tif", "type": COG, "eo:bands": bands}
    return item("naip", None, image=image)
