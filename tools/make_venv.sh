#!/bin/sh
# Make a virtual environment: make_venv.sh FOLDER [PYTHON]. Without PYTHON the first that fits.
set -eu

folder=$1
wanted=${2:-}

python=
for candidate in ${wanted:-python3 python3.13 python3.12 python3.11 python}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    found=$("${wanted:-python3}" --version 2>/dev/null) || found="none that runs"
    echo "Perpool needs Python 3.11 or newer (found: $found); install it, or name it: make setup PYTHON=/path/to/python" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python lacks the venv module; install it (Debian, Ubuntu: apt install python3-venv)" >&2
    exit 1
fi
echo "creating $folder with $("$python" --version)"
"$python" -m venv --clear "$folder"
