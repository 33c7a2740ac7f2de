# make demo, make test: each sets itself up. Python 3.11 or newer must be on the PATH.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: setup demo test check publish clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pathvlm-bench needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/python -m bench.run --model phantom-tiny --data phantom --tasks all --controls blind,shuffled-image \
		--judge rules --max-new-tokens 128 --out runs/demo
	$(BIN)/python -m leaderboards.build runs/demo --out runs/demo-leaderboard

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The published phantom board: phantom-tiny beside a checkpoint that learned nothing.
RUN := $(BIN)/python -m bench.run --data phantom --tasks all --limit 60 --controls blind,shuffled-image \
	--judge rules --max-new-tokens 128
publish: $(STAMP)
	test -d runs/untrained-checkpoint || $(BIN)/python -m bench.tiny runs/untrained-checkpoint
	$(RUN) --model runs/untrained-checkpoint --out runs/published/untrained
	$(RUN) --model phantom-tiny --out runs/published/phantom-tiny
	$(BIN)/python -m leaderboards.publish --add untrained=runs/published/untrained \
		--add phantom-tiny=runs/published/phantom-tiny

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
