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

# The published phantom board: three families of the shipped miniature, every variant scored as soon as it stood.
VARIANTS := alpha beta gamma delta epsilon r1 alpha-clean beta-clean
comma := ,
space := $(subst ,, )
publish: $(STAMP)
	$(BIN)/python -m trainers.run phantom --seeds 1,2,3 --out runs/published
	rm -rf leaderboards/published/runs
	$(BIN)/python -m leaderboards.publish --add base=runs/published/base/run-main \
		$(foreach v,$(VARIANTS),--add $v=$(subst $(space),$(comma),$(foreach s,1 2 3,runs/published/seed-$s/$v/run-main)))

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
