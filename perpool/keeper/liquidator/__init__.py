"""The liquidator: learns accounts, keeps them by health, liquidates what pays, without capital.

index.py    positions of a pool in the order of their liquidation prices
follow.py   learns them from the pools' events
pools.py    the pools of a deployment, and who in them may be liquidated
ether.py    the price of ether, for the gas
profit.py   what a liquidation brings, and which way of it to take; pure
trials.py   what liquidations would bring now, tried on a block
role.py     the role of the keeper that ties them together
"""
