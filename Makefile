# Everything that these targets need they put into .cache themselves: see tests/tools/setup.
.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test test-all lint sanity unit long integration artifact rehearsal rehearsal-local docs matrix release-check release clean
.PHONY: setup system node gates gate-ansible-test

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## Migrate a couch2pg database between two throw-away PostgreSQL servers
	tests/demo/run

demo-clean: ## Stop the demo's servers and remove what it made
	tests/demo/clean

# What the tests need is fetched at once. Then the gates and the tests without servers share the cores: the longest come first.
test: ## Run every gate, and every short test
	$(MAKE) --no-print-directory -j3 --output-sync=target setup system node
	$(MAKE) --no-print-directory -j2 --output-sync=target gate-ansible-test gates unit rehearsal-local artifact
	$(MAKE) --no-print-directory integration

setup system node:
	tests/tools/$@

test-all: test sanity release-check long rehearsal ## Run everything, which takes hours on a small machine

lint: ## Run every gate
	tests/tools/lint

# The target unit runs the gate "repository".
gates:
	tests/tools/lint --without ansible-test,repository

gate-ansible-test:
	tests/tools/lint ansible-test

sanity: ## Run ansible-test sanity with every Python of this machine
	tests/tools/setup
	tests/tools/sanity

unit: ## Test the core without Ansible and without PostgreSQL
	tests/tools/run pytest tests/unit

# One file stays on one worker: its tests share servers, users and ports. The longest files come first (conftest.py).
integration: ## Test modules, roles and playbooks against real PostgreSQL servers
	tests/tools/system
	tests/tools/run pytest tests/integration -m "not long" -n 2 --dist loadfile --no-loadscope-reorder --durations 8

long: ## Run the tests that take minutes: cut networks, thousands of tables, hosts in containers
	tests/tools/system long
	tests/tools/run pytest tests/integration -m long --durations 0

artifact: ## Build the collection and test it installed
	tests/tools/run pytest tests/artifact

rehearsal: ## Run every scenario of Molecule: real hosts, check mode first, the migration twice, a look from outside
	tests/tools/rehearsal

rehearsal-local: ## Run the one scenario that needs no container
	tests/tools/rehearsal local

docs: ## Build the documentation site in .cache/docs/site, and check its links
	tests/tools/docs

matrix: ## Run a small migration for every supported version, and write docs/support-matrix.md
	tests/matrix/run

release-check: ## Check what a release is made of: artifact, execution environment, site, GitHub's files
	tests/tools/release_check $(VERSION)

release: ## Prepare a release: make release VERSION=0.1.0
	tests/tools/release $(VERSION)

clean: ## Remove everything that was made here, the demo included
	tests/demo/clean
	DEMO_FOLDER=molecule tests/demo/clean
	tests/tools/docker
	rm -rf .cache .ansible tests/output
