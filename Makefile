# Two commands: `make figures` and `make test`. Both set up what they need in .venv, where the package is installed
# editable: an edit in src is what runs. CONTRIBUTING.md explains the other targets.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
RESULTS ?= results
BIN := $(VENV)/bin
# Installing compiles no module: the first import of each does, and must be allowed to write what it has compiled.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
PYTEST = $(BIN)/python -m pytest -p no:cacheprovider

.PHONY: figures test tests quick lint oldest newest wheel asan docs bench clean

figures: $(VENV)/.lab
	$(BIN)/inna reproduce all --preset quick --out $(RESULTS)

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) tests

tests: $(VENV)/.dev
	$(PYTEST) src --doctest-modules --ignore-glob='*/_fused_triton.py' --ignore-glob='*/integrations/*' -q
	$(PYTEST) -n 2 --dist loadgroup --durations=20

# The ground floor's tests and those of the files that differ from main, without TensorFlow, Ray and Transformers.
quick: $(VENV)/.quick
	$(PYTEST) --touched -q

lint: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The tests on the oldest versions that pyproject.toml admits, and on the newest that there are.
oldest:
	$(MAKE) tests VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt
newest:
	$(MAKE) tests VENV=.venv-newest CONSTRAINTS=/dev/null

# The source distribution, the wheel built from it, and the wheel's tests: what a user gets. The wheel is installed into
# an environment of its own, which finds everything else in the development environment.
wheel: $(VENV)/.dev
	rm -rf dist $(VENV)/wheel
	PIP_CONSTRAINT=$(abspath $(CONSTRAINTS)) $(BIN)/python -m build
	$(BIN)/python -m venv $(VENV)/wheel
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
		> "$$($(VENV)/wheel/bin/python -c 'import site; print(site.getsitepackages()[0])')/development.pth"
	$(VENV)/wheel/bin/python -m pip install --quiet --no-deps dist/*.whl
	$(VENV)/wheel/bin/python -m pytest -p no:cacheprovider -q tests/check_wheel.py

# The kernel on a CPU under AddressSanitizer, through random shapes, dtypes and strides: it must have nothing to report.
CASES ?= 20000
asan: $(VENV)/.dev
	INNA_CACHE_DIR=$(VENV)/asan CXX="g++ -fsanitize=address -fno-omit-frame-pointer -g" ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
		$(BIN)/python tests/fuzz_fused.py $(CASES)

docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -d $(RESULTS)/doctrees docs $(RESULTS)/site
	@echo "the site is $(RESULTS)/site/index.html"

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/step_torch.py
	$(BIN)/python benchmarks/train_torch.py
	$(BIN)/python benchmarks/train_nin.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/step_jax.py
	for backend in torch jax tensorflow; do KERAS_BACKEND=$$backend $(BIN)/python benchmarks/step_keras.py || exit 1; done

# Each stamp is an editable installation with the extra of its name. Triton, for the test of the kernel for GPUs, lies
# apart: a process that has JAX loaded crashes when torch finds and loads it too.
$(VENV)/.lab $(VENV)/.quick $(VENV)/.docs: $(VENV)/.%: pyproject.toml $(CONSTRAINTS)
	$(call install,$*)

# What needs torchvision lies apart too: where its operators are built for another PyTorch, Transformers and Lightning
# fail beside it.
VISION := timm fastai fastcore fastdownload fastprogress fasttransform plum-dispatch beartype torchvision

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS)
	$(call install,dev)
	test -d $(VENV)/triton || test "$$(uname)" != Linux || \
		$(INSTALL) --no-deps --constraint $(CONSTRAINTS) --target $(VENV)/triton triton
	test -d $(VENV)/vision || \
		$(INSTALL) --no-deps --constraint $(CONSTRAINTS) --target $(VENV)/vision $(VISION)
	touch $(VENV)/.lab $(VENV)/.quick

$(VENV)/.lint: $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --constraint $(CONSTRAINTS) ruff
	touch $@

define install
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(abspath $(CONSTRAINTS)) $(INSTALL) --editable '.[$(1)]'
	touch $@
endef

clean:
	rm -rf .venv .venv-* docs/gallery .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
