# Needs Python 3.12 and make. Every target creates .venv first; nothing is installed twice.
PYTHON ?= $(shell command -v python3.12 || command -v python3)
PRESET ?= demo
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo play watch test check robot venv clean

demo: $(STAMP)
	$(BIN)/python scripts/demo.py preset=$(PRESET)

play: $(STAMP)
	$(BIN)/python scripts/play.py run_dir=runs/shipped  # has no weights of its own, so that the shipped ones play

# The same, live in a browser, until Ctrl-C.
watch: $(STAMP)
	$(BIN)/python scripts/play.py run_dir=runs/shipped play.viewer=viser

# Two workers, each on a file of its own: tests compute on one thread. Every worker may hold 3 GiB.
test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Each robot's USD from its MJCF.
robot: $(STAMP)
	$(BIN)/python assets/robots/build.py

venv: $(STAMP)

# ovphysx and ovstage come last and without their dependencies: see pyproject.toml.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' || \
		{ echo "ARGOS needs Python 3.12 and '$(PYTHON)' is not: install it, or name it with make PYTHON=/path/to/python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt --no-deps ovphysx ovstage
	touch $@

# Removes what runs and tools leave behind, never weights, data sets or the environment.
clean:
	rm -rf .pytest_cache .ruff_cache build dist *.egg-info
	find argos_wm argos_sim tasks scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
