"""The carry vault over recorded history: contracts on an in-process chain, checked by the model."""
