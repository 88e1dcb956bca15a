# Each target is one script; make only gives it a short name. Variables of the scripts (PYTHON, VENV, JOBS) can be
# given here too: make test JOBS=4
#
#   make demo SEED=1          train a small bundled model and see whether it got better
#   make test ARGS="-k seed"  lint, types and tests; ARGS go to pytest
#   make bench ARGS=--quick   openrft beside TRL on this machine; without ARGS about 40 minutes

.PHONY: demo test test-slow test-gpu bench check setup clean

demo:
	@scripts/demo $(if $(SEED),--seed $(SEED)) $(ARGS)

test:
	@scripts/test $(ARGS)

test-slow:
	@scripts/test-slow $(ARGS)

test-gpu:
	@scripts/test-slow tests/gpu $(ARGS)

bench:
	@scripts/bench $(ARGS)

check:
	@scripts/check

setup:
	@scripts/setup

# Everything that can be made again; never runs/.
clean:
	rm -rf .venv .venv.log .venv.lock .venv.lock.check build dist
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
