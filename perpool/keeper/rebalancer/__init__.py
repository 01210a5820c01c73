"""The rebalancer: keeps carry vaults where they should be, and settles what is asked of them.

decide.py      what a vault needs, whose turn it is, and what it may cost; pure
requests.py    learns who has asked for something, with a checkpoint
vaults.py      the vaults of a deployment, how they stand, and what is sent for them
role.py        the role of the keeper that ties them together
"""
