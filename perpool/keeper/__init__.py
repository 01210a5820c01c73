"""The keeper: reports funding and prices, keeps the pools in step, and liquidates.

From venues to the mailbox:
    sources/         exchanges, recorded history, or a synthetic market
    aggregate.py     medians of what they say
    reporter.py      the role that signs them
    mailbox/         where reports wait, and the lease of the active submitter

From the mailbox to the chain:
    rounds.py        reports of one moment that count, checked
    decide.py        what to submit and to keep in step; pure
    submitter.py     the role that does so while it has the lease
    contracts.py     state and calls of the protocol
    liquidator/      the role that liquidates

Transactions of an account:
    outbox.py        from the plan to the value read back
    journal.py       on disk before it is done
    steps.py         what to do next with one; pure
    fees.py          what to pay for it; pure
    batches.py       several calls in one
    announcement.py  what is in flight, for a standby
    nodes.py         several nodes as one that can be believed
    endpoint.py      one of them
    signing.py       accounts, wherever their keys are

Running it:
    config.py        keeper.toml
    build.py         from a configuration to roles
    service.py       the loop: a thread for each role
    watch.py         the role that looks after nodes, lease, ether and feeds
    metrics.py       figures and health
    server.py        /metrics and /healthz
    logs.py          structured, without secrets
    survey.py        what `status` and `check` find out
    status.py        how `status` shows it
    cli.py           `perpool keeper`

All of it in small:
    local.py         one process, round by round
    replay.py        recorded history on an in-process chain
    replay_cli.py    `perpool keeper replay`

`model.py` has the plain values that all of them share.
"""
