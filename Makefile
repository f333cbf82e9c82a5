# Two commands: `make demo` shows the main job, `make test` holds everything to its word. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test soak clean

setup: $(READY)

# torch comes first and by its exact version: an open range finds gigabytes of CUDA packages instead of the CPU build.
# s3prl goes without its dependencies: it is an oracle in tests, which need none, and torchaudio would ask for CUDA's torch.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps espnet-s3prl
	touch $@

# make demo                          on a corpus that is synthesised
# make demo FULL=1                   with a bank and a GAN too, which takes minutes
# make demo CORPUS=path/to/corpus    on real speech; KIND=ravdess says what it is where its files do not tell
demo: setup
	$(BIN)/gandistill demo $(if $(CORPUS),--corpus '$(CORPUS)') $(if $(KIND),--corpus-kind $(KIND)) $(if $(FULL),--full)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses 2 --dist worksteal -rs

# What `make test` does in a short form, in full: hundreds of kills, ten thousand damaged artifacts. Some minutes.
soak: setup
	GANDISTILL_SOAK=1 $(BIN)/pytest --numprocesses 2 --dist worksteal tests/gan/test_survival.py tests/gan/test_processes.py \
		tests/test_artifacts.py tests/test_fuzz.py tests/features/test_workers.py \
		tests/corpora/test_prepare_fuzz.py

clean:
	rm -rf $(VENV) work
