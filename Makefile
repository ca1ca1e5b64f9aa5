# The few commands that a change needs, the same ones that .ci/run calls.

CFLAGS_STRICT = -std=c11 -O2 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wmissing-prototypes \
	-Werror -pthread -fsyntax-only -Icsrc

# What knows Python is apart from the rest, which does not.
PYTHON_HEADERS = $(shell python -c 'import sysconfig; print(sysconfig.get_path("include"))')

# Its tables hold functions as pointers to void, and it says itself what is called from outside.
CFLAGS_PYTHON = -Wno-pedantic -Wno-missing-prototypes -isystem $(PYTHON_HEADERS)

.PHONY: check format generate cross wheels
check:
	ruff check .
	ruff format --check .
	clang-format --dry-run --Werror csrc/*.c csrc/*.h csrc/cpython/*.[ch]
	mypy
	check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	ls csrc/*.c | xargs -P 2 -I FILE clang-tidy --quiet FILE -- -std=c11 -Icsrc
	clang-tidy --quiet csrc/cpython/*.c -- -std=c11 -isystem $(PYTHON_HEADERS)
	for file in csrc/*.c; do $(CC) $(CFLAGS_STRICT) $$file || exit 1; done
	$(CC) $(CFLAGS_STRICT) $(CFLAGS_PYTHON) csrc/cpython/*.c

format:
	ruff check --fix .
	ruff format .
	clang-format -i csrc/*.c csrc/*.h csrc/cpython/*.[ch]

generate:
	python csrc/build_stub.py
	ruff format pydurable/_core.pyi
	python docs/build_reference.py

# macOS, arm64 and musl from here; needs the extra [cross], and what tests/test_cross.py names.
cross:
	pytest -m long tests/test_cross.py

# dist/: the sdist, a wheel from it for this platform, and under repaired/ the one to publish, which
# says what it needs of the C library and was checked against the stable ABI; needs [wheels].
DIST = dist
wheels:
	python -m build --outdir $(DIST) .
	auditwheel repair --wheel-dir $(DIST)/repaired $(DIST)/pydurable-*-abi3-linux_*.whl
	abi3audit --strict --verbose $(DIST)/repaired/pydurable-*.whl
