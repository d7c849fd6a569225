"""`python -m lmcodistill`."""

import sys

from lmcodistill import cli

# A process that a stage starts may import the main file again, under another name.
if __name__ == "__main__":
    sys.exit(cli.main())
