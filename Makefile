# make tour · make quick · make test · make test-e2e · make e2e · make lab · make lint        Each sets up .venv by itself.
# make faults · make nightly · make bench · make seeds                             What takes longer.
#
# Choose another Python, or what torch is asked for:  make test PYTHON=python3.12 TORCH='torch==2.13.0'
PYTHON ?= python3
TORCH ?= torch
VENV ?= .venv
# The versions that the suite was last green with; the newest of all: make test LOCK=/dev/null
LOCK ?= constraints.txt
# Processes that run tests at the same time; each needs a core and 2 GB. None: make test WORKERS=0
WORKERS ?= 2
BIN = $(VENV)/bin
READY = $(VENV)/ready
export OMP_WAIT_POLICY = passive

.PHONY: tour quick test test-e2e e2e nightly faults lab lint docs bench seeds setup clean

tour: $(READY)
	$(BIN)/etabli tour $(ARGS)

# What trains nothing: two minutes.
quick: $(READY)
	ETABLI_EXAMPLES=quick $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not trains and not slow and not nightly and not e2e" $(ARGS)

# All but the browser's journeys and what runs nightly.
test: $(READY)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not nightly and not e2e" $(ARGS)

# The browser tests alone; Chromium and its driver-less Playwright are needed (CHROMIUM=path, else the one on PATH).
test-e2e: $(READY)
	$(BIN)/pytest tests/e2e $(ARGS)

# Everything, with more examples: a second torch, several processes and machines, whole grids.
nightly: $(READY)
	ETABLI_EXAMPLES=nightly ETABLI_KILLS=$(or $(KILLS),20) $(BIN)/pytest $(ARGS)

# Faults at every point of a save, damage, races, secrets, a stranger's folders (the table of attacks), and 200 kills at
# random (an hour; KILLS=20 for fewer).
faults: $(READY)
	ETABLI_FAULTS=benchmarks/results/faults.json ETABLI_KILLS=$(or $(KILLS),200) $(BIN)/pytest tests/faults $(ARGS)

# The browser tests with twenty restarts, reloads and cuts, what they counted, and shots/gallery.html of all widgets.
e2e: $(READY)
	ETABLI_E2E=benchmarks/results/e2e.json ETABLI_SHOTS=shots $(BIN)/pytest tests/e2e $(ARGS)

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks --ServerApp.ip=127.0.0.1

# Style, format, types, security, declared dependencies, names; the widgets' scripts where npm is installed.
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml --severity-level medium workbench widgets/etabli_widgets
	$(BIN)/deptry .
	$(BIN)/python tools/count_names.py --most 3 --most-any 150
	@if command -v npm >/dev/null; then \
	  npm --prefix widgets install --silent --no-package-lock && npm --prefix widgets run --silent lint; \
	else echo "not run: the widgets' scripts, since npm is not installed"; fi

# The site in site/, its reference made from the docstrings.
docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check 'mkdocs-material==9.8.1' 'mkdocstrings[python]==1.0.8' 'mkdocs-click==0.9.0'
	$(BIN)/mkdocs build --strict

# The engine beside TRL and a plain Trainer: an hour, on a machine that does nothing else.
bench: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check trl==1.16.0
	$(BIN)/python benchmarks/engine.py --out benchmarks/results/engine.json $(ARGS)

# Does tuning beat its best rival, over three seeds?
seeds: $(READY)
	$(BIN)/python benchmarks/three_seeds.py $(ARGS)

setup: $(READY)

# torch first and by itself: its requirement decides which build comes, and nothing after it may replace it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "etabli needs Python 3.11 or newer; choose one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint '$(LOCK)' --editable '.[test,lint]'
	touch $(READY)

clean:
	rm -rf $(VENV) tour tour.previous
