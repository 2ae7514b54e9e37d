"""The part in C; everything else about the package is in pyproject.toml, which has no settled form for this."""

import os

from setuptools import Extension, setup

# Optional: without a C compiler, and in the wheel for every machine, gateway/live/sending.py does the same in Python.
sending = Extension("gateway.live._sending", ["gateway/live/_sending.c"], optional=True)
setup(ext_modules=[] if os.environ.get("GATEWAY_PURE_WHEEL") else [sending])
