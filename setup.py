"""The part in C; everything else about the package is in pyproject.toml, which has no settled form for this."""

from setuptools import Extension, setup

# Optional: without a C compiler gateway/live/sending.py does the same in Python.
setup(ext_modules=[Extension("gateway.live._sending", ["gateway/live/_sending.c"], optional=True)])
