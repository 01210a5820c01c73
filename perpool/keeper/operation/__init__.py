"""What an operator has to do with.

config.py        keeper.toml
sections.py      its sections
credentials.py   what is secret in it
place.py         a deployment through its nodes, and the keeper's files
assembly.py      from a configuration to roles
keeper.py        all of them together, running once
watch.py         the role that looks after nodes, lease, ether and feeds
server.py        /metrics and /healthz
logs.py          structured, without secrets
check.py         what `check` finds
survey.py        what `status` finds out
status.py        how `status` shows it
"""
