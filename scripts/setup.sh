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

# The lock names everything, so nothing is to be resolved.
install_with_pip() {
    "$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps "$@"
}

# uv needs seconds where pip needs a minute or two. It is one of the locked packages, and is told of the index that
# pip is told of, for it reads none of pip's settings. Quiet where it fails: pip then does it, and says what is wrong.
install_with_uv() {
    sed -n '/^uv==/,/[^\\]$/p' "$lock" >"$venv/uv.txt"
    install_with_pip -r "$venv/uv.txt" 2>/dev/null || return 1
    index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
    UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index} "$venv/bin/uv" pip install --quiet --compile-bytecode \
        --python "$venv/bin/python" --require-hashes --no-deps -r "$lock" 2>/dev/null
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
echo "setup: installing $(grep -c '^[a-z0-9].*==' "$lock") locked packages"
install_with_uv || {
    echo "setup: pip takes over, which needs a minute or two"
    install_with_pip -r "$lock" ||
        fail "the locked packages could not be installed (see above); run make setup again when the cause is mended."
}
cp "$lock" "$installed"
echo "setup: ready"
