#!/bin/sh
# The guest book as two containers: each has one task, and its own life.
#
#     ./microservices.sh IMAGE [PORT]      IMAGE has redis-server and python3, from Debian
#
#     browser ─► 127.0.0.1:PORT ─► web (app.py) ── network "guestbook" ──► db (Redis) ── volume "notes"
#
# ENGINE=docker runs the same on Docker.
set -eu
engine=${ENGINE:-minirun} image=$1 port=${2:-8080}
here=$(cd "$(dirname "$0")" && pwd)

$engine network create guestbook        # on it, containers find each other by name
$engine volume create notes             # it stays when containers go

# A health check asks Redis itself; --restart starts it again after a crash.
$engine run -d --name db --network guestbook -v notes:/data --restart on-failure \
    --health-cmd "redis-cli ping" --health-interval 1s \
    "$image" redis-server --dir /data --appendonly yes --protected-mode no --bind 0.0.0.0

$engine run -d --name web --network guestbook -p "127.0.0.1:$port:80" -e REDIS=db --restart always \
    -v "$here/app.py:/srv/app.py:ro" \
    "$image" python3 /srv/app.py
