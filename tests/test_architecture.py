"""The floors of the house, what its doors drag in, and what is in the box."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import geounet

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "geounet"
COMMAND = ROOT / "cli" / "geounet_cli"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

FLOORS: dict[str, tuple[str, ...]] = {
    "ground": ("cores", "errors", "hushed", "untold", "window"),
    "values": ("tiling", "taper", "raster", "bands", "classes", "spec", "area", "report"),
    "edges": (
        "address",
        "gdalenv",
        "vsi",
        "signalled",
        "scene",
        "cog",
        "writer",
        "pipeline",
        "polygonize",
        "qgis",
        "aoi",
        "legend",
        "samegrid",
        "outline",
        "staging",
        "heap",
    ),
    "model": ("graph", "margins", "nn", "bundle", "onnx", "models"),
    "engine": (
        "engine",
        "feed",
        "stitch",
        "blend",
        "fit",
        "metrics",
        "options",
        "choose",
        "labels",
        "tilesize",
        "warn",
        "totals",
        "layer",
        "outputs",
        "fingerprint",
        "lock",
        "stripfile",
        "parts",
        "run",
        "evaluate",
        "polygonization",
        "stac",
        "mosaic",
        "sheet",
        "quicklook",
        "segmentation",
    ),
    "scale": ("lazy", "facade", "batch", "testing", "quantize", "train"),
}
"""Rooms from the ground up: each imports only from those before it."""

ROOMS = [room for rooms in FLOORS.values() for room in rooms]

PACKAGES: dict[str, set[str]] = {
    "ground": {"numpy"},
    "values": {"affine", "odc", "pyproj"},
    "edges": {
        "numba",
        "pyarrow",
        "pyogrio",
        "rasterio",
        "shapely",
        "xarray",
        "rioxarray",
        "PIL",
    },
    "model": {"onnx", "torch", "safetensors", "segmentation_models_pytorch", "torchgeo"},
    "engine": {"openvino"},
    "scale": {
        "dask",
        "distributed",
        "geopandas",
        "kornia",
        "lightning",
        "nncf",
        "omegaconf",
        "scipy",
        "sklearn",
        "torchmetrics",
        "yaml",
    },
}
"""What each floor may use beside the standard library and what the floors below it use."""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "odc": "odc-geo",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Import name -> distribution, where they differ."""

CONDA = {"torch": "pytorch"}
"""PyPI name -> conda name, where they differ."""


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, inside functions too, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name"
            whole = node.module or ""
            if whole == "geounet":
                yield from ((f"geounet.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield whole, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def library_files() -> list[Path]:
    return [p for p in sorted(LIBRARY.rglob("*.py")) if p != LIBRARY / "__init__.py"]


def third_party(path: Path) -> set[str]:
    tops = {name.partition(".")[0] for name, _ in imports(path)}
    return tops - set(sys.stdlib_module_names) - {"geounet", "geounet_cli", "__future__"}


def test_every_room_is_on_a_floor() -> None:
    assert sorted({room_of(p) for p in library_files()}) == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down_only(room: str) -> None:
    below = ROOMS[: ROOMS.index(room)]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in library_files()
        if room_of(path) == room
        for name, line in imports(path)
        if name.startswith("geounet.") and name.split(".")[1] not in (room, *below)
    ]
    assert wrong == []


@pytest.mark.parametrize("floor", FLOORS)
def test_each_floor_uses_only_its_packages(floor: str) -> None:
    floors = list(FLOORS)
    allowed = set().union(*(PACKAGES[f] for f in floors[: floors.index(floor) + 1]))
    wrong = {
        str(path.relative_to(ROOT)): sorted(third_party(path) - allowed)
        for path in library_files()
        if room_of(path) in FLOORS[floor] and not third_party(path) <= allowed
    }
    assert wrong == {}


def test_the_library_knows_nothing_of_the_command_line() -> None:
    names = {name for path in LIBRARY.rglob("*.py") for name, _ in imports(path)}
    assert not [name for name in names if name.startswith("geounet_cli")]


def test_the_command_line_imports_heavy_packages_nowhere_at_the_top() -> None:
    used = set().union(*(third_party(path) for path in COMMAND.glob("*.py")))
    assert used <= {"tqdm", "rasterio"}


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running ``code``."""
    tell = "; import json, sys; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tell], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {
    "dask",
    "geopandas",
    "lightning",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pyogrio",
    "pyproj",
    "rasterio",
    "scipy",
    "shapely",
    "torch",
    "torchgeo",
    "xarray",
}


def test_import_geounet_is_light() -> None:
    assert modules_after("import geounet; geounet.__version__; dir(geounet)") & HEAVY == set()


def test_help_is_light() -> None:
    code = (
        "import contextlib; from geounet_cli.main import main\n"
        "with contextlib.suppress(SystemExit): main(['segment', '--help'])\n"
        "pass"
    )
    assert modules_after(code) & HEAVY == set()


def test_looking_at_a_scene_needs_no_torch() -> None:
    loaded = modules_after("import geounet; geounet.open_scene; geounet.bundled_models()")
    assert loaded & {"torch", "numba", "xarray", "torchgeo"} == set()


def test_segment_stays_a_function_whatever_was_imported() -> None:
    """A module of that name would take its place once it is imported."""
    assert not [n for n in geounet.__all__ if (LIBRARY / f"{n}.py").exists()]
    assert not [n for n in geounet.__all__ if (LIBRARY / n).exists()]
    code = (
        "import pkgutil, importlib, geounet\n"
        "import geounet.facade, geounet.segmentation, geounet.lazy, geounet.choose\n"
        "print([n for n in geounet.__all__ if not callable(getattr(geounet, n))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_what_is_public_is_annotated_and_documented() -> None:
    for name in geounet.__all__:
        thing = getattr(geounet, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing):
            signature = inspect.signature(thing)
            assert signature.return_annotation is not inspect.Signature.empty, name
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, (name, parameter)
    with pytest.raises(AttributeError, match="module 'geounet' has no attribute 'segmnt'"):
        geounet.segmnt  # noqa: B018
    assert dir(geounet) == sorted([*geounet.__all__, "__version__"])


def requirements(lines: list[str]) -> dict[str, str]:
    """Name -> bounds of requirements such as ``numpy>=1.26``."""
    matches = [re.fullmatch(r"([A-Za-z0-9_.-]+)\s*([<>=!~].*)?", line.strip()) for line in lines]
    assert all(matches), lines
    return {m[1].lower(): (m[2] or "").replace(" ", "") for m in matches if m}


PROJECT = PYPROJECT["project"]
DEPENDENCIES = requirements(PROJECT["dependencies"])
EXTRAS = {
    name: requirements([r for r in lines if "[" not in r])
    for name, lines in PROJECT["optional-dependencies"].items()
}


def test_conda_and_pip_install_the_same() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    lines = re.findall(r"^  - ([a-z][^:#\n]*)$", text, re.MULTILINE)
    found = requirements(lines)
    assert found.pop("python") == PROJECT["requires-python"]
    found.pop("pip")
    wanted = {CONDA.get(k, k): v for k, v in {**DEPENDENCIES, **EXTRAS["xarray"]}.items()}
    assert found == wanted


def test_every_dependency_has_a_lower_bound() -> None:
    everything = {**DEPENDENCIES, **EXTRAS["xarray"], **EXTRAS["torch"], **EXTRAS["train"]}
    everything |= {**EXTRAS["batch"], **EXTRAS["quantize"]}
    assert [name for name, bound in everything.items() if ">=" not in bound] == []


WITH_TORCH = {
    *(LIBRARY / "nn").glob("*.py"),
    LIBRARY / "bundle.py",  # to build the network, and to save one
    LIBRARY / "engine" / "torch.py",
    LIBRARY / "engine" / "device.py",
    LIBRARY / "engine" / "memory.py",
    LIBRARY / "engine" / "streams.py",
    LIBRARY / "testing" / "bundles.py",
}
"""The files that may import what ``geounet[torch]`` brings."""


def test_what_is_imported_is_declared() -> None:
    def declared(path: Path) -> set[str]:
        # two files of nn import of it what only networks of others need, where they need it
        others = (LIBRARY / "nn" / "smp.py", LIBRARY / "nn" / "pretrained.py")
        training = path.is_relative_to(LIBRARY / "train") or path in others
        extras = ["xarray", *(["torch"] if path in WITH_TORCH else [])]
        extras += ["torch", "train"] if training else []
        extras += ["batch"] if path.is_relative_to(LIBRARY / "batch") else []
        extras += ["quantize"] if path.is_relative_to(LIBRARY / "quantize") else []
        return DEPENDENCIES.keys() | {name for extra in extras for name in EXTRAS[extra]}

    missing = {
        str(path.relative_to(ROOT)): sorted(names)
        for path in [*LIBRARY.rglob("*.py"), *COMMAND.glob("*.py")]
        if (names := {DISTRIBUTIONS.get(n, n) for n in third_party(path)} - declared(path))
    }
    assert missing == {}


def test_make_help_lists_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    told = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = [line.split()[0] for line in told.stdout.splitlines() if line.startswith("  ")]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    assert sorted(listed) == sorted(targets) == sorted(phony[1].split())
    assert {"demo", "test", "lint", "types", "bench", "notebooks"} <= set(listed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built from a copy of the source tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("geounet", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    try:
        fresh = int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        fresh = False
    tool = ["pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), "."]
    if not fresh:
        tool = ["build", "--wheel", "-o", str(out), "."]
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=source, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_claims_two_names(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"geounet", "geounet_cli"}


def test_the_wheel_carries_models_and_types_and_every_module(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert "geounet/py.typed" in names
    carried = {Path(n).stem for n in names if n.endswith(".geounet")}
    assert carried == set(geounet.bundled_models())
    sources = {p.relative_to(ROOT).as_posix() for p in LIBRARY.rglob("*.py")}
    sources |= {p.relative_to(ROOT / "cli").as_posix() for p in COMMAND.rglob("*.py")}
    assert sources <= names
    entry = next(n for n in names if n.endswith("entry_points.txt"))
    assert "geounet = geounet_cli.main:main" in wheel.read(entry).decode()
