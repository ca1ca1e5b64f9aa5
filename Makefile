# The few commands that a change needs, the same ones that .ci/run calls.

CFLAGS_STRICT = -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wmissing-prototypes \
	-Werror -pthread -fsyntax-only -Icsrc

.PHONY: check format generate cross
check:
	ruff check .
	ruff format --check .
	clang-format --dry-run --Werror csrc/*.c csrc/*.h
	mypy
	for file in csrc/*.c; do $(CC) $(CFLAGS_STRICT) $$file || exit 1; done

format:
	ruff check --fix .
	ruff format .
	clang-format -i csrc/*.c csrc/*.h

generate:
	python csrc/build_stub.py
	ruff format pydurable/_core.pyi
	python docs/build_reference.py

# macOS, arm64 and musl from here; needs the extra [cross], and what tests/test_cross.py names.
cross:
	pytest -m long tests/test_cross.py
