"""The protocol in plain integers, equal to the chain to the wei."""
