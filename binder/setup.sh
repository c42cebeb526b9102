#!/bin/sh
# Installs what is missing, and says so; does nothing, quickly and quietly, when nothing is.
#
#   binder/setup.sh VENV [test]
#
# System packages come from binder/apt.txt (and tests/apt.txt), Python packages in locked
# versions from binder/requirements.txt (or tests/requirements.txt, which holds both).
set -eu
cd "$(dirname "$0")/.."
venv=$1
kind=${2:-use}

say() { printf '%s\n' "labkit: $*" >&2; }
installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

wanted=$(cat binder/apt.txt)
lock=binder/requirements.txt
if [ "$kind" = test ]; then
    wanted="$wanted $(cat tests/apt.txt)"
    lock=tests/requirements.txt
fi

missing=
if command -v dpkg-query >/dev/null; then
    for package in $wanted; do
        case $package in
            # Ubuntu's chromium is a snap: any Chromium or Chrome on the PATH will do.
            chromium) command -v chromium chromium-browser google-chrome >/dev/null && continue ;;
            # Any nginx will do.
            nginx-light) command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] && continue ;;
        esac
        installed "$package" || missing="$missing $package"
    done
else
    say "this system has no apt; please install the equivalents of: $wanted"
fi

# A python3 of 3.11 or newer that every user can read: the system's own if it is new enough.
python=
for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { say "Python 3.11 or newer is needed, and no python3 here is."; exit 1; }
if [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip' 2>/dev/null; then
    missing="$missing python3-venv"
fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo=sudo
    else
        say "these system packages are missing:$missing"
        say "installing them needs root. Ask an administrator for: apt-get install$missing"
        exit 1
    fi
    say "installing system packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    if ! { $sudo apt-get update && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "the system packages could not be installed:$missing"
        exit 1
    fi
    rm -f "$log"
fi

stamp="$venv/.labkit-$kind"
if [ ! -e "$stamp" ] || [ "$lock" -nt "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
    if [ ! -x "$venv/bin/python" ]; then
        say "making a virtual environment in $venv"
        "$python" -m venv "$venv"
    fi
    say "installing Python packages in locked versions ($lock); this takes a minute or two"
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --progress-bar on \
        --require-hashes -r "$lock"
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps \
        --no-build-isolation --editable .
    touch "$stamp"
    say "ready"
fi
