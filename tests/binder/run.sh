#!/bin/sh
# A Docker daemon in namespaces of its own, an image of a folder, and in a container of it the first
# notebook: as user 1000, without capabilities and ways to gain any, Docker's default seccomp filter,
# 1 GB of memory and no network. build.sh starts this.
set -eu
cd "$(dirname "$0")/../.."
for folder in /run /var/lib/containerd; do
    mkdir -p "$folder"
    mount -t tmpfs none "$folder"
done
store=$(dirname "$1")/docker
mkdir -p "$store" /var/lib/docker
mount --bind "$store" /var/lib/docker
mount -t sysfs none /sys
if [ "$(awk '$1 == "memory" { print $2 }' /proc/cgroups)" = 0 ]; then
    mount -t cgroup2 none /sys/fs/cgroup
else # the older kind: else Docker could not limit the memory
    mount -t tmpfs none /sys/fs/cgroup
    for controller in $(awk '$2 ~ /^[1-9]/ { print $1 }' /proc/cgroups); do
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" none "/sys/fs/cgroup/$controller"
    done
fi
ip link set lo up
dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs >/run/dockerd.log 2>&1 &
tries=0
until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || { cat /run/dockerd.log >&2; exit 1; }
    sleep 0.5
done
docker image rm -f labkit-binder >/dev/null 2>&1 || :
tar -C "$1" --exclude=./proc/* --exclude=./sys/* --exclude=./dev/* --exclude=./var/cache/apt -c . |
    docker import --change "ENV PATH=/srv/venv/bin:/usr/bin:/bin" --change "ENV HOME=/home/jovyan" \
        --change "WORKDIR /home/jovyan/lab" - labkit-binder >/dev/null
docker info 2>/dev/null | grep -q 'No memory limit' && echo "Docker cannot limit the memory here" >&2
docker create --name labkit-binder --user 1000 --cap-drop ALL --security-opt no-new-privileges \
    --memory 1g --network none labkit-binder python tests/binder/first_notebook.py >/dev/null
began=$(date +%s%N)
export began
status=0
docker start --attach labkit-binder | sh -c 'while read -r line; do
    echo "$(( ($(date +%s%N) - began) / 1000000 )) ms  $line"
done' | tee /run/log
status=$(docker inspect -f '{{.State.ExitCode}}' labkit-binder)
docker rm labkit-binder >/dev/null
[ "$status" = 0 ] || exit "$status"
grep -q 'launcher uml' /run/log || { echo "the lab did not choose uml" >&2; exit 1; }
first=$(sed -n 's/ ms  the first live table$//p' /run/log)
echo "from the container's start to the first live table: $first ms (at most 60000)"
[ "$first" -le 60000 ]
