"""`perpool demo`: real market history replayed against the whole protocol on a local chain."""
