"""``python -m geounet_cli``."""

import sys

from geounet_cli.main import main

sys.exit(main())
