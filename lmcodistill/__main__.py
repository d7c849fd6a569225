"""`python -m lmcodistill`."""

import sys

from lmcodistill import cli

sys.exit(cli.main())
