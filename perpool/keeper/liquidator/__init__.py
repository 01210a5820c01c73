"""The liquidator: learns accounts, keeps them by health, liquidates what pays, without capital.

index.py    positions of a pool in the order of their liquidation prices
follow.py   learns them from the pools' events
profit.py   what a liquidation brings, and which way of it to take; pure
role.py     the role of the keeper that ties them together
"""
