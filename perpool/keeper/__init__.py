"""The keeper: reports funding and prices, keeps the pools in step, liquidates,
and looks after carry vaults.

From venues to the mailbox:
    sources/         exchanges, recorded history, or a synthetic market
    aggregate.py     medians of what they say
    statements.py    what is going to be signed, on disk
    reporter.py      the role that signs it
    signing.py       accounts, wherever their keys are
    mailbox/         what each reporter says now, and the lease of the active submitter

From the mailbox to the chain:
    rounds.py        reports of one moment that count, checked
    decide.py        what to submit and to keep in step; pure
    submitter.py     the role that does so while it has the lease
    liquidator/      the role that liquidates
    rebalancer/      the role that looks after carry vaults
    bounded.py       HTTP answers of nodes and exchanges, no larger than they may be
    chain/           several nodes as one that can be believed, contracts, and who is in them
    transactions/    an account's transactions, from the plan to the value read back

Running it:
    service.py       the loop: a thread for each role
    metrics.py       figures, told by all of these
    health.py        whether it is well, told by the roles
    operation/       configuration, assembly, what is served, logs, status
    cli.py           `perpool keeper`

All of it in small:
    local.py         one process, round by round
    replay.py        recorded history on an in-process chain
    replay_cli.py    `perpool keeper replay`

`model.py` has the plain values that all of them share, `database.py` what their files do.
"""
