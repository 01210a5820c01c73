"""Transactions of one account, one in flight at a time.

model.py         what transactions are made of
lane.py          what a role sees of it
outbox.py        from the plan to the value read back
journal.py       on disk before it is done
steps.py         what to do next with one; pure
trial.py         its gas, and which of its calls would fail
fees.py          what to pay for it; pure
batches.py       several calls in one
events.py        what happens to it, told to caller, log and figures
announcement.py  what is in flight, for a standby
"""
