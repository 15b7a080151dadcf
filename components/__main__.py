"""`python -m components` is the same program as `stillhouse`."""

import sys

from components.cli import main

sys.exit(main())
