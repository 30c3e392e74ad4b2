# Everything runs in a virtual environment of its own, .venv; `make PYTHON=python3.12` chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTED := $(VENV)/.tested
DEMO_OUT ?= demo-out

.PHONY: demo picture test check format lint types bench reproduce-quick dist docs clean help

help:
	@echo "make demo    a saliency video, masks and an overlay of a real clip, in $(DEMO_OUT)/"
	@echo "make picture the picture of the README, from the demo clip"
	@echo "make test    the tests"
	@echo "make check   format, lint, types and tests: what CI runs"
	@echo "make format  format the code"
	@echo "make bench   the benchmarks (minutes)"
	@echo "make reproduce-quick  a row of each paper on a made-up set (a minute)"
	@echo "make dist    wheel and source archive in dist/, and the tests run from the archive"
	@echo "make docs    the documentation as a site, in site/"
	@echo "make clean   remove the environment and the caches"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# torch first and alone: with a CPU build in place nothing pulls the CUDA packages in.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[superpixels]"
	@touch $(STAMP)

# What development and the tests need beside it.
$(TESTED): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable ".[dev,superpixels,heif,openvino,onnx,ray,serve,remote]"
	@touch $(TESTED)

demo: $(STAMP)
	$(BIN)/vsalient predict examples/demo/*.mp4 --write video,overlay,masks --output $(DEMO_OUT) --overwrite

picture: $(STAMP)
	$(BIN)/python examples/picture.py docs/picture.jpg

test: $(TESTED)
	@# Two processes: tests of one file stay together. Networks' threads would stand in each other's way. What fails beside
	@# another test, as those of signals and deadlines may, has to pass alone.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile || $(BIN)/python -m pytest --last-failed

format: $(TESTED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(TESTED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(TESTED)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	$(BIN)/python benchmarks/predict.py
	$(BIN)/python benchmarks/media.py
	$(BIN)/python benchmarks/metrics.py

reproduce-quick: $(STAMP)
	$(BIN)/vsalient reproduce --quick

# The archive is unpacked and tested with its own sources: what it lacks would fail there. TESTS=tests/test_x.py picks some.
dist: $(TESTED)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	rm -rf dist/check && mkdir dist/check && tar -xzf dist/vsalient-*.tar.gz -C dist/check --strip-components=1
	@# An absolute path, so that commands that tests start elsewhere find the archive's sources too.
	cd dist/check && PYTHONPATH=$(CURDIR)/dist/check/src ../../$(BIN)/python -m pytest $(TESTS)
	rm -rf dist/check

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet "mkdocs>=1.6"
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis $(DEMO_OUT) dist site
