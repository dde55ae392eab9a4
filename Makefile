# Everything that these targets need they put into .cache themselves: see tests/tools/setup.
.DEFAULT_GOAL := help
.PHONY: help demo demo-clean test test-all lint sanity unit long integration artifact rehearsal rehearsal-local clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## Migrate a couch2pg database between two throw-away PostgreSQL servers
	tests/demo/run

demo-clean: ## Stop the demo's servers and remove what it made
	tests/demo/clean

test: lint unit integration artifact rehearsal-local ## Run every gate, and every test that does not take minutes

test-all: test long rehearsal ## Run everything, which takes hours on a small machine

lint: ## Run every gate
	tests/tools/lint

sanity: ## Run ansible-test sanity alone
	tests/tools/setup
	tests/tools/sanity

unit: ## Test the core without Ansible and without PostgreSQL
	tests/tools/run pytest tests/unit

# Files in their order: those with few tests, which xdist would keep for the end, take longest.
integration: ## Test modules, roles and playbooks against real PostgreSQL servers
	tests/tools/system
	tests/tools/run pytest tests/integration -m "not long" -n 2 --dist loadfile --no-loadscope-reorder --durations 8

long: ## Run the tests that take minutes: cut networks, thousands of tables, hosts in containers
	tests/tools/system
	tests/tools/run pytest tests/integration -m long --durations 0

artifact: ## Build the collection and test it installed
	tests/tools/run pytest tests/artifact

rehearsal: ## Run every scenario of Molecule: real hosts, check mode first, the migration twice, a look from outside
	tests/tools/rehearsal

rehearsal-local: ## Run the one scenario that needs no container
	tests/tools/rehearsal local

clean: ## Remove everything that was made here, the demo included
	tests/demo/clean
	DEMO_FOLDER=molecule tests/demo/clean
	tests/tools/docker
	rm -rf .cache .ansible tests/output
