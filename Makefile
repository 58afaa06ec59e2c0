# The whole interface: make demo, make test, make test-bfloat16, make fuzz, make check, make docs, make bench.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
COUNT  ?= 1000
SEED   := $(or $(SEED),$(shell date +%s))
READY  := $(VENV)/.ready

.PHONY: demo test test-bfloat16 fuzz check docs bench

demo: $(READY)  ## The whole comparison on the bundled documents; a second call resumes or shows it again.
	$(BIN)/lorag demo --out .lorag/demo

# Three processes of one thread each: small models gain little from a second thread, one of three often waits for a
# server, a browser or a cluster, and each takes up to 4 GB. Files come in the order of tests/conftest.py, long ones
# first. With COVERAGE=1 the share of lines that ran is printed for each module; what runs in processes of its own is not
# counted. Compiled modules are kept, because the tests start hundreds of processes.
test: $(READY)  ## Every test, offline but for the models, which come from the package index once.
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		$(if $(COVERAGE),--cov=lorag --cov-report=term:skip-covered)

# On a processor without units for it, bfloat16 is emulated, which takes longer.
test-bfloat16: $(READY)  ## What is trained, served and exported, once more in the dtype of a GPU.
	OMP_NUM_THREADS=1 LORAG_NUMBER_FORMAT=bfloat16 $(BIN)/python -m pytest -n 2 --dist loadfile \
		tests/training/test_methods.py tests/training/test_adapter.py tests/workflows/test_export.py tests/workflows/test_finetune.py

fuzz: $(READY)  ## A thousand damaged files of every kind, others each time: make fuzz SEED=7 for the same again.
	LORAG_FUZZ_COUNT=$(COUNT) LORAG_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest tests/documents/parsers/test_mutated.py

check: $(READY)  ## Lint, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)  ## The documentation as a site, in dist/site.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(READY)  ## Every claim with a figure, measured again.
	for claim in benchmarks/*.py; do $(BIN)/python $$claim || failed=1; done; test -z "$$failed"

# A file named statistics.py would hide Python's own module from the other benchmarks.
bench-statistics: bench-simulations ;

bench-%: $(READY)  ## One claim: make bench-demo.
	$(BIN)/python benchmarks/$(subst -,_,$*).py

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs,fast,mcp,ocr,openai,postgres,qlora,ray,s3,serve]'
	touch $@
