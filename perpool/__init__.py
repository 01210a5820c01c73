"""Perpool: SDK, keeper, analytics and command line for funding-priced lending pools."""

__version__ = "0.1.0"
