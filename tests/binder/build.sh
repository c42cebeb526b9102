#!/bin/sh
# Does what repo2docker does with binder/, step by step, in a clean Debian made by debootstrap, as root;
# then runs the first notebook in a container of it that has no rights at all (see run.sh).
#
#   tests/binder/build.sh FOLDER      FOLDER needs 3 GB, and is kept: a second run takes up from there
#
# Not as Binder has it: Debian for Ubuntu, and Debian's Python in a venv for conda's.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p "$1"
folder=$(realpath "$1")
root=$folder/root
for program in debootstrap dockerd docker; do
    command -v $program >/dev/null || { echo "$program is needed: apt-get install debootstrap docker.io" >&2; exit 1; }
done
say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }

inside() { # as repo2docker's user, in the clean Debian, with this machine's package indexes
    chroot "$root" setpriv --reuid=1000 --regid=1000 --clear-groups env -i HOME=/home/jovyan \
        PATH=/srv/venv/bin:/usr/bin:/bin ${certificate:+PIP_CERT=/srv/certificates.crt} "$@"
}

certificate=${PIP_CERT:-} # of a package index inside a company, say
if [ ! -e "$folder/base" ]; then
    say "the base: a clean Debian"
    debootstrap --variant=minbase bookworm "$root" ${MIRROR:-} >"$folder/log" || { tail "$folder/log" >&2; exit 1; }
    cp -rL /etc/apt/. "$root/etc/apt/"
    for file in /etc/resolv.conf /etc/pip.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
        [ ! -e $file ] || { mkdir -p "$root$(dirname $file)" && cp -L $file "$root$file"; }
    done
    chroot "$root" apt-get -qq update
    chroot "$root" apt-get -qq install -y --no-install-recommends python3-venv ca-certificates >"$folder/log" 2>&1
    chroot "$root" useradd --uid 1000 --create-home jovyan
    mkdir -p "$root/srv/venv" && chown 1000:1000 "$root/srv/venv"
    touch "$folder/base"
fi
say "binder/apt.txt"
packages=$(sed 's/#.*//' binder/apt.txt)
# shellcheck disable=SC2086 # a list
chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages \
    >"$folder/log" 2>&1 || { tail "$folder/log" >&2; exit 1; }
[ -z "$certificate" ] || cp -L "$certificate" "$root/srv/certificates.crt"
say "the repository, as its user's"
rm -rf "$root/home/jovyan/lab"
mkdir "$root/home/jovyan/lab"
git archive HEAD | tar -x -C "$root/home/jovyan/lab"
chown -R 1000:1000 "$root/home/jovyan"
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
mount -t devtmpfs none "$root/dev" 2>/dev/null && trap 'umount "$root/proc" "$root/dev"' EXIT
say "binder/requirements.txt"
[ -e "$root/srv/venv/bin/python" ] || inside /usr/bin/python3 -m venv /srv/venv
inside python -m pip install -q --disable-pip-version-check --require-hashes -r /home/jovyan/lab/binder/requirements.txt
say "binder/postBuild"
inside /home/jovyan/lab/binder/postBuild >"$folder/log" 2>&1 || { tail -n 40 "$folder/log" >&2; exit 1; }
umount "$root/proc" "$root/dev"
trap - EXIT
say "the image, and a container of it without rights"
exec unshare --net --mount --pid --fork --kill-child --propagation private --mount-proc \
    sh "$PWD/tests/binder/run.sh" "$root"
