# Everything that a contributor or CI runs. `make` alone lists the targets.
#
#   PYTHON=python3.12   interpreter for the virtual environment (default: the newest of 3.13, 3.12, 3.11)
#   ARGS="..."          more arguments for `make serve` and `make test`

.DEFAULT_GOAL := help
.PHONY: docs help install serve test test-served test-people test-other test-processes test-pythons test-clients test-services screenshots interop-programs test-interop soak soak-isolated soak-updates soak-processes test-against-triton compare-mlserver compare-torchserve conformance conformance-server test-conformance conformance-peers check format protos dist first-minutes clean
.DELETE_ON_ERROR:

BIN := .venv/bin
ARGS ?=
PYTHONS := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)

# Weights of the example models. They are committed; one that is missing is made again from its training data.
EXAMPLE_MODELS := \
	model_repository/add_sub/1/model.onnx \
	model_repository/digits_eager/1/weights.safetensors \
	model_repository/digits_onnx/1/model.onnx \
	model_repository/digits_export/1/model.pt2 \
	model_repository/digits_torchscript/1/model.pt \
	model_repository/intent/1/weights.safetensors

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/dev.stamp ## make .venv with the server, all backends and the tools for development

serve: .venv/serve.stamp $(EXAMPLE_MODELS) ## serve model_repository/ on ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)
	@exec $(BIN)/kserve-v2 serve --model-repository model_repository $(ARGS)

# All tests run in three processes, which take about as long as each other: most of those of whole servers, those of what
# people use (they often wait for a browser, or for a measurement), and the others.
SERVED_TESTS := tests/cuda tests/environments tests/integration tests/interop tests/processes tests/triton tests/wire
PEOPLE_TESTS := tests/bench tests/client tests/embedded tests/isolation tests/test_init_command.py tests/test_readme.py tests/tuning \
	tests/tutorials tests/ui

test: .venv/dev.stamp $(EXAMPLE_MODELS) ## run all tests
ifeq ($(strip $(ARGS)),)
	@echo "Running the tests in three processes. Each reports when it is done, after some 15 minutes on two idle CPUs."
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-served test-people test-other
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-served:
	$(BIN)/python -m pytest $(SERVED_TESTS)
	@# A part of test-processes.
	$(BIN)/python -m pytest --processes 2 tests/integration/test_rest.py tests/integration/test_warm_up.py

test-people:
	$(BIN)/python -m pytest $(PEOPLE_TESTS)

test-other:
	$(BIN)/python -m pytest tests $(SERVED_TESTS:%=--ignore=%) $(PEOPLE_TESTS:%=--ignore=%)

test-processes: .venv/dev.stamp $(EXAMPLE_MODELS) ## run the tests of whole servers with servers of two processes
	$(BIN)/python -m pytest --processes 2 tests/integration tests/wire $(ARGS)

# Of each of them, python3.9 on the PATH, or the newest of pyenv's.
MODEL_PYTHONS := 3.9 3.10 3.11 3.12 3.13

test-pythons: .venv/dev.stamp $(MODEL_PYTHONS:%=.venv-pythons/%.stamp) ## test models with the other versions of Python that are on this machine
	$(BIN)/python -m pytest tests/environments/test_other_pythons.py $(ARGS)

.venv-pythons/%.stamp:
	@mkdir -p .venv-pythons
	@for python in $$(ls -dr "$$HOME"/.pyenv/versions/$*.*/bin/python 2>/dev/null) python$*; do \
		if "$$python" -c 'pass' 2>/dev/null; then \
			"$$python" -m venv --clear .venv-pythons/$* && \
			.venv-pythons/$*/bin/python -m pip install --quiet --disable-pip-version-check numpy && break; \
			rm -rf .venv-pythons/$*; \
		fi; \
	done
	@touch $@

test-clients: .venv/dev.stamp .venv-kserve/requirements.stamp ## test with clients that need an environment of their own
	$(BIN)/python -m pytest tests/clients $(ARGS)

# Programs that the tests start. Where they are missing and cannot be installed, the tests that need them are skipped.
test-services: ## install the programs that tests start: redis-server and chromium, from Debian
	-@{ command -v redis-server && command -v chromium; } >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server chromium; }

screenshots: .venv/dev.stamp $(EXAMPLE_MODELS) ## make the pictures of the page in docs/images, with Chromium
	SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/ui -k picture

# What cannot be installed here is skipped by its tests.
interop-programs: .venv/dev.stamp ## install the programs for tests/interop that pip and npm can give
	-@$(MAKE) --no-print-directory --keep-going tests/interop/npm/node_modules/.stamp .venv-perf/requirements.stamp

test-interop: interop-programs ## test with other programs as clients
	$(BIN)/python -m pytest tests/interop $(ARGS)

first-minutes: .venv/dev.stamp ## do and time what a newcomer does: clone, install, train, serve, and ask on the page, in Chromium
	$(BIN)/python -m tools.first_minutes

soak: .venv/dev.stamp ## send a million mixed requests to a server, and check that nothing is left of them
	$(BIN)/python -m tests.soak $(ARGS)

soak-isolated: .venv/dev.stamp ## send 10,000 mixed requests to models in processes of their own, which are killed meanwhile
	$(BIN)/python -m tests.soak.isolated $(ARGS)

soak-updates: .venv/dev.stamp ## ask models 200 times a second while they are reloaded 500 times, upgraded and broken
	$(BIN)/python -m tests.soak.updates $(ARGS)

soak-processes: .venv/dev.stamp ## send a million mixed requests to a server of two processes, one of which is killed every few seconds
	$(BIN)/python -m tests.soak.workers $(ARGS)

test-against-triton: .venv/dev.stamp ## send the cases of tests/wire, and the clients of tests/triton_models, to the real tritonserver (Linux on x86-64)
	$(BIN)/python tools/tritonserver.py install
	WIRE_TARGET=triton $(BIN)/python -m pytest tests/wire tests/triton/test_examples.py $(ARGS)

conformance: conformance-server test-conformance ## run the conformance suite against this server, in one process and in two, and its own tests

conformance-server: .venv/conformance.stamp
	$(BIN)/python conformance/peers/run_kserve_v2.py --report build/conformance/kserve-v2.html $(ARGS)
	$(BIN)/python conformance/peers/run_kserve_v2.py --server-option=--processes=2 \
	  --report build/conformance/kserve-v2-processes.html $(ARGS)

test-conformance: .venv/conformance.stamp
	cd conformance && ../$(BIN)/python -m pytest -q

conformance-peers: .venv/dev.stamp ## run the conformance suite against this server, tritonserver, MLServer, KServe's and TorchServe (Linux on x86-64)
	$(BIN)/python conformance/peers/compare.py build/conformance

compare-mlserver: .venv/dev.stamp ## ask a real MLServer and this server the same, answer by answer
	test -x .venv-mlserver/bin/mlserver || { $(BIN)/python -m venv .venv-mlserver && \
	  .venv-mlserver/bin/pip install -q "mlserver==1.7.1" "pandas<3" "uvloop<0.22"; }
	$(BIN)/python -m tests.mlserver.compare $(BIN) .venv-mlserver/bin $(ARGS)

compare-torchserve: .venv/dev.stamp ## ask a real TorchServe and this server the same, answer by answer (needs Java)
	test -x .venv-torchserve/bin/torchserve || { $(BIN)/python -m venv .venv-torchserve && \
	  .venv-torchserve/bin/pip install -q "torchserve==0.12.0" torch torchvision "setuptools<80" psutil pyyaml pillow; }
	$(BIN)/python tools/compare_torchserve.py --torchserve .venv-torchserve/bin/torchserve

check: .venv/dev.stamp ## format, lint, types, layers, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd conformance && ../$(BIN)/mypy
	$(BIN)/python tools/generate_protos.py --check
	$(BIN)/python tools/generate_states.py --check
	$(BIN)/python tools/generate_reference.py --check
	$(BIN)/python -m pytest -q tests/test_architecture.py

docs: .venv-docs/requirements.stamp ## build the documentation's site into build/docs, and check its links
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

format: .venv/dev.stamp ## format the code and fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: .venv/dev.stamp ## generate kserve_v2/_generated from protos/
	$(BIN)/python tools/generate_protos.py

dist: .venv/dev.stamp ## build wheel and sdist into dist/, and check them
	$(BIN)/python tools/build_dist.py

clean: ## remove the environments and everything that was built
	rm -rf .venv .venv-docs .venv-protos .venv-pythons .venv-kserve .venv-perf .venv-torchserve .venv-mlserver tests/interop/npm/node_modules .venv-triton conformance/peers/.venv-* build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is as old as the installation that it stands for: nothing is installed again until a requirement changes.
# What pip has left here of an earlier version would say where its backends were.
.venv/serve.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@rm -rf kserve_v2.egg-info
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@rm -rf kserve_v2.egg-info
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch .venv/serve.stamp $@

.venv/conformance.stamp: conformance/pyproject.toml .venv/dev.stamp
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e './conformance[test]'
	@touch $@

.venv-kserve/requirements.stamp: tests/clients/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv --clear .venv-kserve
	.venv-kserve/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@touch $@

.venv-docs/requirements.stamp: docs/requirements.txt | $(BIN)/python
	$(BIN)/python -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

tests/interop/npm/node_modules/.stamp: tests/interop/npm/package.json
	npm install --prefix tests/interop/npm --no-package-lock --ignore-scripts --no-audit --no-fund
	@touch $@

# perf_analyzer is in this old wheel of tritonclient alone, for Linux on x86-64. Its other requirements are for the library.
.venv-perf/requirements.stamp: tests/interop/perf_analyzer.txt | $(BIN)/python
	$(BIN)/python -m venv --clear .venv-perf
	.venv-perf/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/interop/perf_analyzer.txt
	@touch $@

$(EXAMPLE_MODELS):
	@$(MAKE) --no-print-directory .venv/dev.stamp
	$(BIN)/python -m examples.make_models

$(BIN)/python:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making .venv with $$("$$python" --version)"; \
			exec "$$python" -m venv .venv; \
		fi; \
	done; \
	echo "error: Python 3.11 or newer not found (tried: $(PYTHONS)); install it, or run: make PYTHON=/path/to/python3" >&2; \
	exit 1
