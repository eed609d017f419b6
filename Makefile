# Two commands: `make figures` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt $(shell find src -type f -not -name '*.pyc')
RESULTS ?= results

.PHONY: figures test lint bench docs clean

figures: .venv/.lab
	$(BIN)/inna reproduce all --preset quick --out $(RESULTS)

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --pyargs inna --doctest-modules --ignore-glob='*/_fused_triton.py' -p no:cacheprovider -q
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python benchmarks/step_torch.py
	$(BIN)/python benchmarks/train_torch.py
	$(BIN)/python benchmarks/train_nin.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/step_jax.py
	for backend in torch jax tensorflow; do KERAS_BACKEND=$$backend $(BIN)/python benchmarks/step_keras.py || exit 1; done

docs: .venv/.docs
	$(BIN)/pdoc --docformat google --math --output-directory $(RESULTS)/docs inna inna.torch inna.dynamics inna.nonsmooth inna.lab

# Each stamp is an installation of the built package, as a user gets it, with the extras of its name. Triton, for the
# test of the kernel for GPUs, lies apart: a process that has JAX loaded crashes when torch finds and loads it too.
.venv/.lab: $(SOURCES)
	$(call install,torch$(comma)lab)

.venv/.dev: $(SOURCES)
	$(call install,dev)
	test -d .venv/triton || test "$$(uname)" != Linux || \
		$(PIP) install --quiet --no-deps --constraint constraints.txt --target .venv/triton triton
	touch .venv/.lab

.venv/.docs: $(SOURCES)
	$(call install,torch$(comma)lab$(comma)docs)
	touch .venv/.lab

comma := ,
define install
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	rm -rf .venv/wheel
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PIP) wheel --quiet --no-deps --wheel-dir .venv/wheel .
	$(PIP) install --quiet --constraint constraints.txt "inna[$(1)] @ file://$$(ls $(CURDIR)/.venv/wheel/inna-*.whl)"
	$(PIP) install --quiet --force-reinstall --no-deps .venv/wheel/inna-*.whl
	touch $@
endef

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
