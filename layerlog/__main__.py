"""``python -m layerlog``."""

from __future__ import annotations

import sys

from layerlog.cli.main import main

sys.exit(main())
