#!/bin/sh
# Every test, in phases: what may share the machine runs in parallel, the rest by itself.
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
    # pytest answers 5 when a phase selects no test
    case $status in
    0 | 5) ;;
    130) exit 130 ;;
    *) failed="$failed, $name" ;;
    esac
}

phase "second executor" "$python" -m tests.support.second_executor
phase "unit and integration" "$python" -m pytest tests/unit tests/integration -m "not serial" -n 2 --dist loadgroup
phase "serial" "$python" -m pytest tests/unit tests/integration -m serial
phase "end to end" "$python" -m pytest tests/e2e

if [ -n "$failed" ]; then
    echo "make test: failed in ${failed#, }" >&2
    exit 1
fi
echo "make test: all passed"
