#!/bin/sh
# Runs the Docker comparison against a real daemon (Debian's docker.io), as root, in namespaces of its
# own: the machine's network, and what Docker keeps in /var/lib and /run, are not touched.
#
#   tests/kernel/with_docker.sh PYTHON
set -eu
cd "$(dirname "$0")/../.."
if [ "${2:-}" != inside ]; then
    command -v dockerd >/dev/null || { echo "dockerd is needed: apt-get install docker.io" >&2; exit 1; }
    exec unshare --net --mount --pid --fork --kill-child --propagation private --mount-proc \
        sh "$PWD/tests/kernel/with_docker.sh" "$1" inside
fi
for folder in /run /var/lib/docker /var/lib/containerd; do
    mkdir -p "$folder"
    mount -t tmpfs none "$folder"
done
mount -t sysfs none /sys
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
dockerd --iptables=false --ip6tables=false --storage-driver=vfs >/run/dockerd.log 2>&1 &
tries=0
until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { cat /run/dockerd.log >&2; exit 1; }
    sleep 0.5
done
mkdir -p /run/image/bin
cp /bin/sleep /run/image/bin/
for library in $(ldd /bin/sleep | grep -o '/[^ ]*'); do
    mkdir -p "/run/image$(dirname "$library")"
    cp "$library" "/run/image$library"
done
tar -C /run/image -c . | docker import - labkit-test >/dev/null
"$1" -m pytest tests/kernel/test_docker.py
