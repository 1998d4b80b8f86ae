# Everything that can be done here. Needs Python 3.11, 3.12 or 3.13, make and git; the rest is installed into .venv and .tools.
.DEFAULT_GOAL := help
.PHONY: help demo up test test-all test-engines test-deploy quick check docs screenshot bench lock clean

BIN := .venv/bin
UV = $(shell command -v uv || echo .tools/bin/uv)
INSTALLED_BY := scripts/install pyproject.toml requirements/runtime.txt
# What a laptop has too; what the image has besides is the extra deploy.
EXTRAS = --extra channels --extra lineage --extra postgres --extra s3 --extra sample --extra spark --extra statsd --extra trino
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.runtime ## Build a sample workspace, expire and restore it through Airflow, print what happened (EVENTS=200000)
	@$(BIN)/perennial demo $(if $(EVENTS),--events $(EVENTS))

up: .venv/.runtime ## Serve Airflow's web page on 127.0.0.1, with a mail catcher, until Ctrl-C
	@$(BIN)/perennial up

# Each process would compile the project and its tests anew where the environment says to write no bytecode.
test test-all test-engines test-deploy quick: export PYTHONDONTWRITEBYTECODE =

test: .venv/.dev ## Run the tests, some minutes (ARGS="-k restore" passes options to pytest)
	@$(BIN)/pytest -n 2 --dist loadgroup -m "not long" $(ARGS)

test-all: .venv/.dev ## Run every test: each point of each kill, each storage, journeys of minutes
	@$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

test-engines: .venv/.dev ## Run the tests of other engines, which it installs into .tools; needs Java 17
	@$(BIN)/pytest tests/installed $(ARGS)

test-deploy: .venv/.dev ## Build the image, render the charts and start what deploy/ describes; needs root and Debian's buildah
	@$(BIN)/pytest tests/deployed $(ARGS)

quick: .venv/.dev ## Run the tests that need no server, no browser and no Airflow, in a minute
	@$(BIN)/pytest -n 2 --dist loadgroup --quick -m "not long" $(ARGS)

check: .venv/.dev ## Lint, types, SQL, imports, citations, generated pages, locked requirements, the wheel; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --nocolor include/sql
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m scripts.check_citations
	$(BIN)/python -m scripts.reference --check
	$(UV) pip check --python $(BIN)/python
	scripts/check_wheel

docs: .venv/.dev ## Write docs/reference anew from the code
	@$(BIN)/python -m scripts.reference

screenshot: .venv/.dev ## Make docs/screenshot.png anew, with a real browser
	@$(BIN)/python -m tests.browser.screenshot

bench: .venv/.dev ## Measure against the alternatives, print medians and ratios (ONLY=name for one)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

lock: ## Compile requirements/*.txt anew, to the current releases (needs PyPI)
	@scripts/install tools
	$(COMPILE) --upgrade pyproject.toml $(EXTRAS) -o requirements/runtime.txt
	$(COMPILE) --upgrade pyproject.toml $(EXTRAS) --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) --upgrade pyproject.toml $(EXTRAS) --extra deploy -c requirements/runtime.txt -o requirements/deploy.txt
	echo uv | $(COMPILE) --upgrade - -o requirements/tools.txt
	for in in requirements/engines/*.in; do \
	    case $$in in *-jars.in) alone=--no-deps ;; *) alone= ;; esac; \
	    $(COMPILE) --upgrade $$alone $$in -o $${in%.in}.txt || exit; \
	done
	for lock in requirements/engines/*.deb.txt; do \
	    apt-cache show --no-all-versions $$(sed 's/=.*//' $$lock) | awk '/^(Package|Version|SHA256):/ { has[$$1] = $$2 } \
	        /^SHA256:/ { print has["Package:"] "=" has["Version:"] " --hash=sha256:" $$2 }' > $$lock.new && mv $$lock.new $$lock || exit; \
	done

clean: ## Remove .venv, .tools and caches; keeps .perennial, where the data is
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist include/*.egg-info
	find . -name __pycache__ -type d -not -path './.perennial/*' -prune -exec rm -rf {} +

.venv/.runtime: $(INSTALLED_BY)
	@scripts/install runtime

.venv/.dev: $(INSTALLED_BY) requirements/dev.txt
	@scripts/install dev
