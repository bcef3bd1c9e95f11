"""Bands are found by name, refused where a name could mean two things, and never guessed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geounet.bands import (
    COMMON_NAMES,
    SENSORS,
    BandSpec,
    Normalizer,
    band_number,
    canonical_name,
    lacking_bands,
    match_bands,
    parse_band_option,
)
from geounet.errors import BandError, OptionError

WATER = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
S2_ALL = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SWIR-1", "swir1"),
        ("swir16", "swir1"),
        ("SWIR 1 (1610 nm)", "swir1"),
        ("SWIR1.6", "swir1"),
        ("Coastal aerosol", "coastal"),
        ("coastal blue", "coastal"),
        ("Blue", "blue"),
        ("B3 - Green", "green"),
        ("Red edge (705 nm)", "rededge1"),
        ("red edge 2", "rededge2"),
        ("Near Infrared", "nir"),
        ("near infrared band", "nir"),
        ("NIR narrow (865 nm)", "nir08"),
        ("Sigma0_VV_db", "VV"),
        ("Gamma0_VH", "VH"),
        ("s1a-iw-grd-vv-20200101t000000-001", "VV"),
        ("S1A_IW_GRDH_1SDV_20200101T000000_VH", "VH"),
        ("VV-VH", None),
        ("blue, green", None),
        ("greenness", None),
        ("a b c", None),
        ("", None),
        ("Band 3", None),
    ],
)
def test_canonical_name(text, name):
    assert canonical_name(text) == name


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("B02", "B2"),
        ("B8A", "B8A"),
        ("b11", "B11"),
        ("T32UNU_20220101T101021_B08_10m", "B8"),
        ("LC08_L2SP_193026_20200101_20200113_02_T1_SR_B4", "B4"),
        ("sr_band2", "B2"),
        ("B4, central wavelength 665 nm", "B4"),
        ("Band 3", None),
        ("band_3", None),
        ("S2B_MSIL2A", None),
        ("QA_PIXEL", None),
        ("B2 and B3", None),
        ("B2021", None),
    ],
)
def test_band_number(text, number):
    assert band_number(text) == number


@given(st.permutations(sorted(COMMON_NAMES)), st.data())
def test_any_spelling_of_any_order_is_found(names, data):
    texts = [data.draw(st.sampled_from([name, *COMMON_NAMES[name]])) for name in names]
    needed = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    picked = match_bands(needed, texts)
    assert [names[i - 1] for i in picked] == needed


@pytest.mark.parametrize(
    ("texts", "hint", "picked"),
    [
        (" ".join(S2_ALL), "", (1, 2, 3, 4, 8, 11, 12)),
        ("B1 B2 B3 B4 B5 B6 B7", "", (1, 2, 3, 4, 5, 6, 7)),
        ("SR_B1 SR_B2 SR_B3 SR_B4 SR_B5 SR_B6 SR_B7", "LC09_L2SP_x", (1, 2, 3, 4, 5, 6, 7)),
        ("nir red green blue coastal swir2 swir1", "", (5, 4, 3, 2, 1, 7, 6)),
        # STAC: Element84's Sentinel-2, then Landsat, whose band 5 is called nir08
        (
            "coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16 swir22",
            "",
            (1, 2, 3, 4, 8, 11, 12),
        ),
        ("coastal blue green red nir08 swir16 swir22 qa_pixel", "", (1, 2, 3, 4, 5, 6, 7)),
        # Planet's eight bands: the name itself wins over a text that holds it
        (
            "coastal_blue blue green_i green yellow red rededge nir swir1 swir2",
            "",
            (1, 2, 4, 6, 8, 9, 10),
        ),
    ],
)
def test_sensors(texts, hint, picked):
    assert match_bands(WATER, texts.split(), hint=hint) == picked


def test_descriptions_of_gdals_sentinel_2_driver():
    texts = [f"{band}, central wavelength 1 nm" for band in S2_ALL]
    assert match_bands(WATER, texts) == (1, 2, 3, 4, 8, 11, 12)


def test_numbers_that_mean_two_sensors_are_refused_with_the_flag():
    with pytest.raises(BandError, match=r"Sentinel-2 and Landsat 8-9.*--bands green=1,nir=2"):
        match_bands(["green", "nir"], ["B3", "B5", "B8"])


@pytest.mark.parametrize(
    ("hint", "picked"),
    [
        ("S2A_MSIL2A_2020", (1, 3)),
        ("HLS.S30.T32UNU", (1, 3)),
        ("T32UNU_20220101T101021", (1, 3)),
        ("SENTINEL-2B", (1, 3)),
        ("/data/LC08_L2SP_x/a.tif", (1, 2)),
        ("LANDSAT_9", (1, 2)),
        ("HLS.L30.T32UNU", (1, 2)),
    ],
)
def test_a_hint_decides(hint, picked):
    assert match_bands(["green", "nir"], ["B3", "B5", "B8"], hint=hint) == picked


def test_the_first_line_that_names_a_sensor_counts():
    """A file's name is worth more than the folders it lies in."""
    names = ["B3", "B5", "B8"]
    assert match_bands(["green", "nir"], names, hint="S2A_x.tif\n\nlandsat8\nLC08_") == (1, 3)
    assert match_bands(["green", "nir"], names, hint="x.tif\n\nlandsat8\nS2A_") == (1, 2)
    with pytest.raises(BandError, match="number their bands differently"):
        match_bands(["green", "nir"], names, hint="S2A_x LC08_x\nS2A_")


def test_narrow_near_infrared_stands_in():
    """Sentinel-2's 20 m product has B8A and no B08."""
    texts = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12"]
    assert match_bands(WATER, texts) == (1, 2, 3, 4, 8, 9, 10)
    assert match_bands(["nir"], ["B8A", "B08"]) == (2,)
    assert match_bands(["nir"], ["nir08", "nir"]) == (2,)


def test_a_hint_is_never_overruled():
    """Seven bands of Sentinel-2 are numbered like all of Landsat's, and mean others."""
    texts = [f"B0{i}" for i in range(1, 8)]
    with pytest.raises(BandError, match=r"the model needs coastal .* has nir swir1 swir2,"):
        match_bands(WATER, texts, hint="S2A_MSIL2A")
    assert match_bands(WATER, texts, hint="HLS.L30") == tuple(range(1, 8))


def test_a_number_that_a_sensor_lacks_rules_it_out():
    assert match_bands(["green", "nir"], ["B3", "B5", "B8", "B8A"]) == (1, 3)


def test_two_claims_are_refused():
    with pytest.raises(BandError, match=r"2 bands could be VV \(1=VV_2020 3=VV_2021\).*--bands"):
        match_bands(["VV", "VH"], ["VV_2020", "VH_2020", "VV_2021"])
    with pytest.raises(BandError, match="2 bands could be red"):
        match_bands(["red"], ["red", "RED"])
    with pytest.raises(BandError, match="2 bands could be red"):
        match_bands(["red"], ["S2A_2020_B04", "S2A_2021_B04"])


def test_what_is_missing_is_listed_with_the_flag():
    with pytest.raises(BandError, match=r"needs red nir; the scene has 2 bands \(1=red 2\).*red=1"):
        match_bands(["red", "nir"], ["red", None])
    with pytest.raises(BandError, match=r"1 band \(1, without names\)"):
        match_bands(["red"], [""])
    with pytest.raises(BandError, match=r"300 bands \(.* \.\.\.\)") as caught:
        match_bands(["red"], [f"x{i}" for i in range(300)])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("needed", "texts", "hint", "lacking"),
    [
        (WATER, ["VV", "VH"], "", WATER),
        (WATER, ["red", "green", "blue", "nir"], "", ("coastal", "swir1", "swir2")),
        (WATER, ["red", "green", "blue", ""], "", ("coastal", "nir", "swir1", "swir2")),
        (WATER, ["red", "green", "blue", "nir", "x", "y", "z"], "", ()),
        (WATER, ["B02", "B03", "B04", "B08", "B11", "B12"], "", ("coastal",)),
        (WATER, ["B02", "B03", "B04", "B08", "B11", "B12", ""], "", ()),
        (WATER, [f"B{i}" for i in range(1, 8)], "S2A_x", ("nir", "swir1", "swir2")),
        (("VV", "VH"), list(WATER), "", ("VV", "VH")),
        (("VV", "VH"), S2_ALL, "", ("VV", "VH")),
        (("VV", "VH"), ["VV", "angle"], "", ("VH",)),
        (("VV", "VH"), ["VV"], "", ("VH",)),
        (("VV", "VH"), ["", ""], "", ()),
    ],
)
def test_what_a_scene_lacks(needed, texts, hint, lacking):
    """The flag is shown only where bands of unknown meaning could be the missing ones."""
    assert lacking_bands(needed, texts, hint=hint) == lacking
    with pytest.raises(BandError) as caught:
        match_bands(needed, texts, hint=hint)
    assert ("--bands" in str(caught.value)) is not bool(lacking)


def test_names_of_our_own():
    assert match_bands(["grey", "Height"], ["height", "grey"]) == (2, 1)
    assert match_bands(["h\u00f6he", "breite"], ["Breite", "H\u00f6he"]) == (2, 1)
    assert match_bands(["\u7eff"], ["\u7ea2", "\u7eff"]) == (2,)
    assert match_bands(["+"], ["-", "+"]) == (2,)


# bands that had no name in training

NAMELESS = ("band1", "band2", "band3")


@pytest.mark.parametrize(
    ("needed", "texts", "picked"),
    [
        (NAMELESS, [None, "", ""], (1, 2, 3)),
        (NAMELESS, ["", "", "", "alpha"], (1, 2, 3)),
        (NAMELESS, ["", "Alpha", "", ""], (1, 3, 4)),
        (NAMELESS, ["Band 1", "band_2", "Band3"], (1, 2, 3)),
        (NAMELESS, ["intensity", "", "of unknown kind"], (1, 2, 3)),
        (("band1",), ["photo"], (1,)),
        (("gray",), [""], (1,)),
        (("gray",), ["photo"], (1,)),
        (("gray",), ["alpha", "T32_B08"], (2,)),
        (("gray",), ["depth", "Gray"], (2,)),
        # names and places side by side
        (("red", "green", "blue", "band4"), ["red", "green", "blue", ""], (1, 2, 3, 4)),
        (("band1", "red"), ["", "alpha", "Red"], (1, 3)),
    ],
)
def test_bands_without_a_name_are_found_by_place(needed, texts, picked):
    assert match_bands(needed, texts) == picked
    assert lacking_bands(needed, texts) == ()


@given(st.integers(1, 9), st.data())
def test_as_many_without_a_name_match_and_no_other_number(count, data):
    """Never cut, never padded."""
    needed = [f"band{i}" for i in range(1, count + 1)]
    bands = data.draw(st.integers(1, 9))
    texts = data.draw(st.permutations([""] * bands + ["alpha"] * data.draw(st.integers(0, 2))))
    if bands == count:
        assert match_bands(needed, texts) == tuple(i for i, t in enumerate(texts, 1) if not t)
        return
    with pytest.raises(
        BandError, match=f"needs {count} bands? without a name; .* has {bands} band"
    ):
        match_bands(needed, texts)
    assert lacking_bands(needed, texts) == tuple(needed[bands:])


RGB = ["red", "green", "blue"]
WHICH = "say which is which with --bands band1=1,band2=2,band3=3"
REFUSED = {
    "more": (
        (NAMELESS, ["", "", "", "", "alpha"]),
        ("3 bands without a name", "4 bands (1 2 3 4, without names) and alpha"),
        f"give a scene of 3 bands, or {WHICH.replace('is which', 'to read')}",
    ),
    "fewer": (
        (NAMELESS, ["red", "green"]),
        ("3 bands without a name", "2 bands (1=red 2=green)"),
        "give a scene of 3 bands",
    ),
    "named": (
        (NAMELESS, RGB),
        ("3 bands without a name", "3 bands (1=red 2=green 3=blue)"),
        WHICH,
    ),
    "not named": (
        (("red", "band2", "band3"), ["", "", ""]),
        ("red and 2 bands without a name", "3 bands (1 2 3, without names)"),
        WHICH.replace("band1", "red"),
    ),
    "named beside one without": (
        (("red", "band2"), ["red", "nir", "alpha"]),
        ("red and 1 band without a name", "2 bands (1=red 2=nir) and alpha"),
        "say which is which with --bands red=1,band2=2",
    ),
    "colours for gray": (
        (("gray",), [*RGB, "alpha"]),
        ("one band, gray", "3 bands (1=red 2=green 3=blue) and alpha"),
        "say which one to read with --bands gray=1",
    ),
    "alpha for gray": (
        (("gray",), ["alpha"]),
        ("one band, gray", "none but alpha"),
        "say which one to read with --bands gray=1",
    ),
    "a colour for gray": (
        (("gray",), ["alpha", "red"]),
        ("one band, gray", "1 band (2=red) and alpha"),
        "if it is that, say so with --bands gray=2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_bands_than_those_without_a_name(case):
    given, (needs, has), remedy = REFUSED[case]
    with pytest.raises(BandError) as caught:
        match_bands(*given)
    assert str(caught.value) == f"the model needs {needs}; the scene has {has}: {remedy}"


@pytest.mark.parametrize(
    ("needed", "texts"),
    [
        (NAMELESS, ["", "", "nir"]),
        (NAMELESS, ["B1", "B2", "B3"]),
        (NAMELESS, ["x_B04_10m", "", ""]),
        (NAMELESS, ["Band 3", "Band 2", "Band 1"]),
        (NAMELESS, ["Band 0", "Band 1", "Band 2"]),
        (("band1",), ["VV"]),
        (("gray",), ["alpha"]),
        (("gray",), ["gray", "grey", "gray"]),
        (("vigour", "band2"), ["", "vigour"]),
        (("red", "band2"), ["red", "red"]),
        (("band4", "band7"), [""] * 7),
    ],
)
def test_what_has_no_name_is_never_guessed(needed, texts):
    with pytest.raises(BandError):
        match_bands(needed, texts, hint="S2A_MSIL2A")


def test_the_option_names_what_has_no_name():
    assert parse_band_option("band3=1,band1=2,band2=4", NAMELESS, 4) == (2, 4, 1)
    assert parse_band_option("gray=2", ("gray",), 3) == (2,)
    for option, needed in (("x=1,y=2,z=3", NAMELESS), ("green=2", ("gray",)), ("", NAMELESS)):
        with pytest.raises(BandError, match=f"not say which band is {' '.join(needed)}: write --b"):
            parse_band_option(option, needed, 4)


@pytest.mark.parametrize(
    ("option", "needed", "picked"),
    [
        ("red=3,nir=1", ("red", "nir"), (3, 1)),
        (" nir = 1 , red = 3 ,", ("red", "nir"), (3, 1)),
        ("B04=3,B08=1", ("red", "nir"), (3, 1)),
        ("B01=1,B02=2,B03=3,B04=4,B08=5,B11=6,B12=7", WATER, (1, 2, 3, 4, 5, 6, 7)),
        ("SR_B1=7,SR_B2=6,SR_B3=5,SR_B4=4,SR_B5=3,SR_B6=2,SR_B7=1", WATER, (7, 6, 5, 4, 3, 2, 1)),
        ("vv=2,vh=1", ("VV", "VH"), (2, 1)),
        ("grey=2", ("grey",), (2,)),
        ("red=1,nir=1", ("red", "nir"), (1, 1)),
        ("swir=3,red=1,nir=2", ("red", "nir"), (1, 2)),
    ],
)
def test_option(option, needed, picked):
    assert parse_band_option(option, needed, 7) == picked


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ("red", "'red' is not NAME=INDEX"),
        ("red=x", "'red=x' is not NAME=INDEX"),
        ("red=1=2", "is not NAME=INDEX"),
        ("=1", "is not NAME=INDEX"),
        ("red=0", "the scene has bands 1 to 4"),
        ("red=5", "--bands red=5: the scene has bands 1 to 4"),
        ("red=-1", "is not NAME=INDEX"),
        ("red=1,red=2", "gives red twice: 1 and 2"),
        ("red=1", r"does not say which band is nir: write --bands red=1,nir=2"),
        ("", "does not say which band is red nir"),
        ("red=1,nri=2", "does not say which band is nir"),
        ("B4=1,B5=2,B8=3", r"the band names fit Sentinel-2 and Landsat 8-9"),
    ],
)
def test_option_refused(option, match):
    with pytest.raises(BandError, match=match):
        parse_band_option(option, ("red", "nir"), 4)


def test_option_follows_the_hint():
    option = "B4=1,B5=2,B8=3"
    assert parse_band_option(option, ("red", "nir"), 4, hint="LC08_x") == (1, 2)
    assert parse_band_option(option, ("red", "nir"), 4, hint="S2B_x") == (1, 3)


def test_every_sensor_names_known_bands_once():
    for table in SENSORS.values():
        names = [name for name in table.values() if name]
        assert set(names) <= set(COMMON_NAMES)
        assert len(set(names)) == len(names)


def test_no_two_bands_share_a_spelling():
    spelled = [s for name, others in COMMON_NAMES.items() for s in (name.lower(), *others)]
    assert len(set(spelled)) == len(spelled)


@pytest.mark.parametrize(("mean", "std"), [(0, 0), (0, -1), (np.nan, 1), (0, np.inf)])
def test_statistics_that_cannot_be(mean, std):
    with pytest.raises(OptionError, match="must be finite, std > 0"):
        BandSpec(name="red", mean=mean, std=std)


def test_normalizer():
    bands = (BandSpec(name="a", mean=0.5, std=0.25), BandSpec(name="b", mean=0.0, std=2.0))
    normal = Normalizer.of(bands, (0.0, 1.0), scale=[0.001, 1.0], offset=[0.0, -1.0])
    data = np.array([[[0, 750, 5000]], [[0, 2, 3]]], np.uint16)
    np.testing.assert_allclose(normal(data), [[[-2, 1, 2]], [[0, 0.5, 0.5]]], rtol=1e-6)
    np.testing.assert_allclose(normal.physical(data)[1], [[-1, 1, 2]])
    valid = np.array([[True, False, True]])
    assert normal(data.astype(float), valid)[0, 0, 1] == 0
    assert not np.isnan(normal(np.full((2, 1, 3), np.nan), np.zeros((1, 3), bool))).any()


@pytest.mark.parametrize("extra", [["alpha"], ["SCL", "AOT", "WVP"], ["QA_PIXEL"]])
def test_a_band_that_is_no_channel_cannot_be_the_missing_one(extra):
    six = ["blue", "green", "red", "nir", "swir1", "swir2"]
    assert lacking_bands(["coastal", *six], [*six, *extra]) == ("coastal",)
    assert lacking_bands(["coastal", *six], [*six, "of unknown kind"]) == ()
