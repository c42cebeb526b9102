#!/bin/sh
# Installs what is missing, and says so; does nothing, quickly and quietly, when nothing is.
#
#   binder/setup.sh VENV [test]
#
# System packages come from binder/apt.txt (and tests/apt.txt), Python packages in locked
# versions from binder/requirements.txt (or tests/requirements.txt, which holds both).
# NO_APT=1 goes on without the system packages that are missing.
set -eu
cd "$(dirname "$0")/.."
venv=$1
kind=${2:-use}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say() { printf 'labkit: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }
listed() { sed 's/#.*//' "$@"; }
one_of() { for program; do command -v "$program" >/dev/null 2>&1 && return; done; return 1; }

# progress TOTAL PATTERN COMMAND...: runs it and counts the lines of output that match, on one
# line of a terminal, else every tenth (none if TOTAL is 0). If it fails, the output's end is shown.
progress() {
    total=$1 pattern=$2
    shift 2
    every=10
    [ -t 2 ] && every=1
    { "$@" 2>&1 && : >"$work/done"; } | tee "$work/log" |
        awk -v total="$total" -v pattern="$pattern" -v every="$every" '
            total && $0 ~ pattern && ++n % every == 0 {
                printf "%s  %d of %d%s", (every == 1 ? "\r" : ""), n, total, (every == 1 ? "" : "\n")
                fflush()
            }
            END { if (every == 1 && n) print "" }' >&2
    [ -e "$work/done" ] && rm "$work/done" && return
    tail -n 20 "$work/log" >&2
    return 1
}

lock=binder/requirements.txt lists=binder/apt.txt
[ "$kind" = use ] || lock=tests/requirements.txt lists="binder/apt.txt tests/apt.txt"

# The stamp of a finished installation: these files, in this folder, for this Python.
# Whoever has what the tests need has what use needs.
state_for() {
    echo "$(cat "$1" pyproject.toml | cksum) $PWD" \
        "$("$venv/bin/python" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null)"
}
stamped() { [ -e "$venv/.labkit-$1" ] && [ "$(state_for "$2")" = "$(cat "$venv/.labkit-$1")" ]; }
is_current() {
    [ -x "$venv/bin/python" ] || return 1
    stamped test tests/requirements.txt || { [ "$kind" = use ] && stamped use "$lock"; }
}
current=
! is_current || current=yes

# A Python of 3.11 or newer: the system's own if it will do, as every user can read that one;
# one that can make a virtual environment before one that needs a package to.
python=
if [ -z "$current" ]; then
    for needed in 'import ensurepip, venv' ''; do
        for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
            if "$candidate" -c "import sys; assert sys.version_info >= (3, 11); $needed" 2>/dev/null
            then
                python=$candidate
                break 2
            fi
        done
    done
    [ -n "$python" ] || fail "Python 3.11 or newer is needed, and no python3 here is."
fi

# The small Linux is large, and only of use on x86-64 and where namespaces are not to be had.
needs_uml() {
    ! command -v linux.uml >/dev/null && [ "$(uname -m 2>/dev/null)" = x86_64 ] || return 1
    [ "$kind" = test ] || ! { unshare --net true || unshare --user --map-root-user --net true; } 2>/dev/null
}

find_missing() {
    missing=
    present=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' $wanted 2>/dev/null || :)"
    for package in $wanted; do
        case $package in
            chromium) one_of chromium chromium-browser google-chrome "$venv/bin/chromium" && continue ;;
            user-mode-linux) needs_uml || continue ;;
            nginx-light) one_of nginx /usr/sbin/nginx && continue ;; # any nginx will do
        esac
        case $present in *" installed:$package "*) ;; *) missing="$missing $package" ;; esac
    done
}

# As root. Installing nginx would start it, and at each boot: the machine's port 80 is not ours.
# shellcheck disable=SC2016 # expanded by the other shell
install_packages='
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap "rm -f $policy" EXIT
        trap "exit 130" INT TERM
        printf "#!/bin/sh\nexit 101\n" >$policy
        chmod 755 $policy
    fi
    apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" || exit
    case " $* " in *" nginx-light "*) ! command -v systemctl >/dev/null || systemctl disable nginx || : ;; esac
'

wanted=$(listed $lists)
snapped= # Ubuntu has Chromium as a snap alone, which a headless test cannot count on
if ! command -v dpkg-query >/dev/null; then
    [ -n "$current" ] || say "this system has no apt: please install the equivalents of" $wanted
else
    if [ -n "$python" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        case $python in
            *python3) wanted="$wanted python3-venv" ;;
            *) wanted="$wanted ${python##*/}-venv" ;;
        esac
    fi
    find_missing
    [ -z "${NO_APT:-}" ] || { [ -z "$missing" ] || say "going on without:$missing"; missing=; }
    if [ -n "$missing" ]; then
        if [ "$(id -u)" = 0 ]; then
            sudo=
        elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            sudo=sudo
        else
            say "these system packages are missing:$missing"
            say "Installing them needs root, and sudo cannot be used here. Ask an administrator for:"
            say "  apt-get install$missing"
            fail "or go on without them, with NO_APT=1 (labkit doctor tells what then does not work)."
        fi
        say "installing system packages:$missing"
        progress 0 '' $sudo apt-get -q -o DPkg::Lock::Timeout=300 update ||
            say "the list of packages could not be brought up to date; trying with the one there is"
        case "$missing " in
            *" chromium "*)
                if ! LC_ALL=C apt-cache policy chromium 2>/dev/null | grep -q 'Candidate: [0-9]'; then
                    snapped=yes
                    wanted=$(printf '%s\n' $wanted | grep -vx chromium)
                    find_missing
                fi ;;
        esac
        if [ -n "$missing" ]; then
            count=$(apt-get -s -q install --no-install-recommends $missing 2>/dev/null | grep -c '^Inst ' || :)
            progress "$count" '^Setting up ' $sudo sh -c "$install_packages" sh $missing || {
                find_missing
                fail "these system packages could not be installed:$missing"
            }
        fi
    fi
fi

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

if [ -z "$current" ]; then
    if ! pip --version >/dev/null 2>&1; then
        say "making a virtual environment in $venv, with $python"
        "$python" -m venv "$venv" >&2 || fail "it could not be made: remove $venv, and try again"
    fi
    say "installing Python packages in locked versions ($lock); a minute or two the first time"
    progress "$(grep -c '==.* \\$' "$lock")" '^(Collecting|Processing|Ignoring|Requirement already satisfied:)' \
        pip install --progress-bar off --require-hashes -r "$lock" ||
        fail "the Python packages could not be installed (see above)"
    progress 0 '' pip install --no-deps --no-build-isolation --editable . ||
        fail "labkit itself could not be installed (see above)"
    state_for "$lock" >"$venv/.labkit-$kind"
fi

if [ -n "$snapped" ]; then
    say "apt has Chromium as a snap only: installing Playwright's own"
    progress 0 '' "$venv/bin/python" -m playwright install --with-deps chromium ||
        fail "Chromium could not be installed: put chromium or google-chrome on the PATH"
    ln -sf "$("$venv/bin/python" -c 'from playwright.sync_api import sync_playwright
with sync_playwright() as it: print(it.chromium.executable_path)')" "$venv/bin/chromium"
fi
[ -n "$current" ] || say "ready"
