"""What the keeper knows of the chain.

nodes.py         several nodes as one that can be believed
endpoint.py      one of them
contracts.py     state and calls of the protocol
follow.py        accounts of contracts, learnt from events
checkpoint.py    the file that remembers them
"""
