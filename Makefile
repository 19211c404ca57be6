# Everything runs in .venv; each target sets up what is missing.
#   make demo    the main job on a small bundled room: a table and a picture
#   make test    ruff, pyright, pytest without the slow tests, strict docs build

PYTHON ?= python3
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := .venv/.scorereg-setup

# Without an NVIDIA driver, torch's CPU build: the usual Linux wheel brings some gigabytes of CUDA that nothing would use.
# It is asked for first where pip looks anyway, which may be a mirror that has it, and then at its home.
TORCH_CPU ?= torch==2.13.0+cpu
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
WORKERS ?= 2

.PHONY: setup demo test lint types unit slow docs clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "scorereg needs Python 3.11 or newer; name one with: make setup PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 && ! $(BIN)/python -c 'import torch' 2>/dev/null; then \
	    $(PIP) --no-deps '$(TORCH_CPU)' 2>/dev/null || \
	    $(PIP) --no-deps --retries 1 --timeout 30 --index-url $(TORCH_CPU_INDEX) '$(TORCH_CPU)' || \
	    echo "No $(TORCH_CPU) to be had; pip takes torch's usual build instead, which is large." >&2; \
	fi
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m examples.nerf_fewshot.demo --out runs/demo

test: lint types unit docs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow"

slow: $(STAMP)
	$(BIN)/python -m pytest -q -m slow

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv site dist build .pytest_cache .ruff_cache .hypothesis
