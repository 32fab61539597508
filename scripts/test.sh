#!/bin/sh
# Every test, in phases. Integration tests mostly wait, so three run at a time on two cores; whole stacks speak in
# real time, and two do.
# All phases run even when an earlier one fails; the exit code tells whether any did.
set -u
cd "$(dirname "$0")/.."

python=.venv/bin/python
failed=

phase() {
    name=$1
    shift
    echo "== $name"
    "$@"
    status=$?
    case $status in
    0) ;;
    130) exit 130 ;;
    *) failed="$failed, $name" ;;
    esac
}

phase "unit" "$python" -m pytest tests/unit -n 2
phase "integration" "$python" -m pytest tests/integration -n 3 --dist loadgroup
phase "end to end" "$python" -m pytest tests/e2e -n 2 --dist loadfile

if [ -n "$failed" ]; then
    echo "make test: failed in ${failed#, }" >&2
    exit 1
fi
echo "make test: all passed"
