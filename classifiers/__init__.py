"""Routing of citizens' messages: department, safety and language, on two CPU cores.

A leaf package: plain values in, frozen dataclasses out; it knows no database, no settings and no
other package of the product. Serving modules (``department``, ``encoder``, ``safety``, ``language``)
import neither torch nor transformers; only ``backbone``, ``export`` and ``train`` do.
"""

import os

# Read when torch is first imported: how long a thread that waits for the other one keeps its core busy. By
# default so long that a challenger that trains beside the running product almost stands still (LOG.md).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
