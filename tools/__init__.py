"""Checks of this repository; `make check` and `make coverage` run them."""
