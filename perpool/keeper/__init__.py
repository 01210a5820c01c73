"""The keeper: reads funding and prices, signs as reporters, submits, and syncs the pools.

What to do is decided by pure functions (`decide`) of what venues say (`sources`, `aggregate`) and
of what the chain holds (`chain`); `loop.Keeper` is the one place that does the I/O.
"""
