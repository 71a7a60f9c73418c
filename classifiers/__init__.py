"""Routing of citizens' messages: department, safety and language, on two CPU cores.

A leaf package: plain values in, frozen dataclasses out; it knows no database, no settings and no
other package of the product. Serving modules (``department``, ``encoder``, ``safety``, ``language``)
import neither torch nor transformers; only ``backbone``, ``export`` and ``train`` do.
"""
