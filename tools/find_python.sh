#!/bin/sh
# Make a virtual environment: find_python.sh PYTHON FOLDER (an empty PYTHON means look for one).
set -eu

wanted=$1
folder=$2

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

python=
for candidate in ${wanted:-python3 python3.13 python3.12 python3.11 python}; do
    if fits "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$("${wanted:-python3}" --version 2>&1 | head -n 1) || found="no python3"
    echo "Perpool needs Python 3.11 or newer (found: $found); install it, or name one: make setup PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python has no venv module; install it (on Debian and Ubuntu: apt install python3-venv)" >&2
    exit 1
fi
echo "creating $folder with $("$python" --version)"
"$python" -m venv --clear "$folder"
