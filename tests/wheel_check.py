"""What an installed pydurable has to do at the least; run by whoever has just built a wheel."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pydurable


def main() -> None:
    """Commit, read back, replace a file."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        with pydurable.Log(path / "log", segment_bytes=1 << 20) as log:
            assert log.commit(b"from the wheel") == 1
            method = log.sync_method
        assert [tuple(record) for record in pydurable.read_log(path / "log")] == [
            (1, b"from the wheel")
        ]
        pydurable.replace(path / "file", b"replaced")
        assert (path / "file").read_bytes() == b"replaced"
    print(f"pydurable from {Path(pydurable.__file__).parent} works; method {method}")


if __name__ == "__main__":
    main()
