"""A package, because one of the installed distributions brings a `tests` package of its own."""
