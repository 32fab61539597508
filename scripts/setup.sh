#!/bin/sh
# Make .venv hold exactly what requirements-dev.txt locks; does nothing when it does already.
#
# PYTHON names the interpreter; without it the first one found that really runs is taken
# (a pyenv shim can be on PATH and still refuse). Every failure is one sentence.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
lock=requirements-dev.txt
installed=$venv/installed-lock.txt # a copy of the lock file, written when the install was complete

fail() {
    echo "setup: $*" >&2
    exit 1
}

# The version ("3.11") of a command that is a working Python; nothing and a failure otherwise.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

supported() {
    case $1 in 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        version=$(version_of "$PYTHON") || fail "PYTHON=$PYTHON does not run; name a Python 3.11, 3.12 or 3.13."
        supported "$version" || fail "PYTHON=$PYTHON is Python $version; Sidetone needs 3.11, 3.12 or 3.13."
        python=$PYTHON
        return
    fi
    seen=
    for candidate in python3.11 python3.12 python3.13 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python; do
        version=$(version_of "$candidate") || continue
        if supported "$version"; then
            python=$candidate
            return
        fi
        seen="$seen$candidate is $version, "
    done
    fail "no Python 3.11, 3.12 or 3.13 found (${seen}looked on PATH): install one, or name it with PYTHON=/path/to/python."
}

# An environment that exists is kept unless PYTHON asks for another version, or it no longer runs.
current=$(version_of "$venv/bin/python" || true)
if [ -n "${PYTHON:-}" ] || ! supported "$current"; then
    find_python
    if [ "$version" != "$current" ]; then
        current=
    fi
fi

if [ -n "$current" ] && cmp -s "$lock" "$installed"; then
    exit 0
fi

if [ -z "$current" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python $version at $python cannot make virtual environments: install its venv package (Debian: apt-get install python$version-venv)."
    echo "setup: making $venv with Python $version"
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "could not make $venv with $python."
fi

rm -f "$installed"
echo "setup: installing $(grep -c '^[a-z0-9].*==' "$lock") locked packages (the first time takes a minute or two)"
# The lock names everything, so nothing is to be resolved.
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps -r "$lock" ||
    fail "the locked packages could not be installed (see above); run make setup again when the cause is mended."
cp "$lock" "$installed"
echo "setup: ready"
