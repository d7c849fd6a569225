# Names for the commands; each works without make.

.PHONY: test unit format

test:
	tools/test.sh

unit:
	tools/test.sh tests/unit

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .
