# Commands for people and for CI. `make help` lists them.
PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   := .venv
TRAIN  := .venv-train
PEERS  := .venv-peers
BIN    := $(VENV)/bin
OUT    ?= demo
# Tests run at once; those that take long or measure memory run one by one.
TESTS  ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-bucket test-train test-train-slow lint types format bench bench-peers models notebooks notebooks-train clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# setuptools tells at length what an editable installation is; a newcomer reads it as a failure.
$(VENV)/.installed $(VENV)/.installed-dev $(TRAIN)/.installed: export PYTHONWARNINGS := ignore:Editable installation

# What inference on a CPU needs, without torch: enough for the demo. Bytecode is made when a module
# is first imported, which most never are.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# The training stack needs the newest torch (torchvision fits no other), so it lives apart.
$(TRAIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/python -m pip install --quiet --upgrade pip
	$(TRAIN)/bin/python -m pip install --quiet --editable ".[train,dev]"
	touch $@

# What geounet is measured beside; it is imported by nothing of ours.
$(PEERS)/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet -r benchmarks/peers.txt
	touch $@

demo: $(VENV)/.installed  ## segment a sample scene and say where the results are
	@mkdir -p $(OUT)
	@$(BIN)/geounet segment sample_tiles/flood_s1.tif -m flood-s1 -o $(OUT)/flood.tif --overwrite
	@$(BIN)/geounet quicklook sample_tiles/flood_s1.tif $(OUT)/flood.tif $(OUT)/flood.png --overwrite
	@echo
	@echo "class map   $(OUT)/flood.tif   (open it in QGIS)"
	@echo "polygons    $(OUT)/flood.gpkg"
	@echo "quick-look  $(OUT)/flood.png"

test: $(VENV)/.installed-dev  ## run the tests (minutes)
	$(BIN)/python -m pytest -n $(TESTS) --dist worksteal -m "not slow and not train and not notebook" $(PYTEST)

test-slow: $(VENV)/.installed-dev  ## run the tests that take long: large scenes, peak memory
	$(BIN)/python -m pytest -m "slow and not train" $(PYTEST)

test-bucket: $(VENV)/.installed-dev  ## run the tests of buckets (installs s3fs and moto: a minute)
	$(BIN)/python -m pip install --quiet s3fs "moto[server]>=5"
	$(BIN)/python -m pytest tests/batch/test_batch_bucket.py $(PYTEST)

test-train: $(TRAIN)/.installed  ## run the tests of the training room (installs several GB)
	$(TRAIN)/bin/python -m pytest -n $(TESTS) --dist worksteal -m "train and not slow" tests/train tests/test_readme.py $(PYTEST)

test-train-slow: $(TRAIN)/.installed  ## run those that take long: every decoder, more encoders
	$(TRAIN)/bin/python -m pytest -m "train and slow" tests/train $(PYTEST)

lint: $(VENV)/.installed-dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## ruff: mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev  ## mypy, strict
	$(BIN)/mypy

bench: $(VENV)/.installed-dev  ## measure: exactness, speed, memory (BENCH=--quick: a trial); goes on where it ended
	$(BIN)/python benchmarks/segment.py --keep .bench $(BENCH)

bench-peers: $(VENV)/.installed-dev $(PEERS)/.installed  ## the same beside geoai, terratorch, MONAI, torchgeo (several GB)
	$(BIN)/python benchmarks/peers.py $(BENCH)

models: $(TRAIN)/.installed  ## train the bundled models again, from GEOUNET_DATA (default ../shared/data)
	$(TRAIN)/bin/python -m geounet.train.models all $(MODELS)

notebooks: $(VENV)/.installed-dev  ## run the notebooks; those that train are skipped
	$(BIN)/python -m pytest -m notebook tests/test_notebooks.py $(PYTEST)

notebooks-train: $(TRAIN)/.installed  ## run the notebooks that train, with a tiny budget
	$(TRAIN)/bin/python -m pytest -m "notebook and train" tests/test_notebooks.py $(PYTEST)

clean:  ## remove environments and results
	rm -rf $(VENV) $(TRAIN) $(PEERS) $(OUT) .bench build *.egg-info .pytest_cache .mypy_cache .ruff_cache
