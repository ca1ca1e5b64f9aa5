"""The command: ``python -m pydurable``, also installed as the script ``pydurable``."""

import sys

from pydurable._cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
