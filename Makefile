# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)

.DEFAULT_GOAL := help

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## The two-minute tour: real work on this machine, first core's way, then this collection's
test: ## Every check there is; SKIP_DOCKER=1 leaves out what needs Docker hosts
check: ## What to run before each commit: style, types, unit tests and three integration targets on the newest core
one: ## One test, integration target, molecule scenario or playbook: make one WHAT=async_wait; CORE=2.19 says with which core
shell: ## A shell with this checkout installed and a Docker host at hand
unit: ## Unit tests on each ansible-core, and on the oldest Python of a managed host
sanity: ## ansible-test sanity
lint: ## ruff, yamllint, ansible-lint, mypy, plugin documentation, changelog, licences, shell scripts
format: ## Let ruff mend what it can
integration: ## Integration targets on localhost, on each ansible-core
molecule: ## Molecule scenarios against Docker hosts
faults: ## Hosts, connections and controllers that break, a few times each; FAULTS_SEED=... repeats a run
soak: ## The same as often as it takes to believe it: about an hour, with figures at the end
docs: ## The documentation site, in build/docs/html
install: ## Install from git, requirements.yml and the tarball with ansible-core alone, and run a job
awx: ## What the guide to AWX says, under ansible-runner
galaxy: ## The tarball, and what Galaxy checks on import
coverage: ## Which lines of plugins/ the unit tests and integration targets run, in jobs too; PARTS=unit-2.21 takes some
benchmark: ## How fast, beside ansible-core's async
pictures: ## Make the pictures of the guides anew, out of a real run, with a Chromium that is installed
clean: ## Remove what the targets made

demo test check unit sanity lint format integration molecule faults soak docs install awx galaxy benchmark pictures clean:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found on PATH (PYTHON=... names one)." >&2; exit 1; }
	@"$(PYTHON)" tests/driver $@

coverage:
	@"$(PYTHON)" tests/driver coverage $(PARTS)

one:
	@"$(PYTHON)" tests/driver one $(WHAT)

shell:
	@"$(PYTHON)" tests/driver shell

.PHONY: help coverage one shell demo test check unit sanity lint format integration molecule faults soak docs install awx galaxy benchmark pictures clean
