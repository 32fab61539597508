#!/bin/sh
# Make .venv-bench hold what requirements-bench.txt locks: the peers of `make bench-worker` and the floor of
# `make bench-media`, apart from the product's environment. Never fails: a peer that is not there is shown as
# failed in the figures.
set -u
cd "$(dirname "$0")/.."

venv=.venv-bench
lock=requirements-bench.txt
installed=$venv/installed-lock.txt # a copy of the lock file, written when the install was complete

same_python() {
    [ "$("$venv/bin/python" -V 2>/dev/null)" = "$(.venv/bin/python -V)" ]
}

if same_python && cmp -s "$lock" "$installed"; then
    exit 0
fi
echo "setup: installing the peers into $venv" >&2
same_python || { rm -rf "$venv" && .venv/bin/python -m venv "$venv"; }
rm -f "$installed"
if "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r "$lock"; then
    cp "$lock" "$installed"
else
    echo "setup: the peers could not be installed (see above); they will be shown as failed." >&2
fi
exit 0
