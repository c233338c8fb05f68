#!/bin/sh
# The same guest book as one container: both programs in it, and one life for both.
#
#     ./monolith.sh IMAGE [PORT]
#
# Less to type, and nothing to find: Redis is on localhost. But the container is "up" as long as its
# first process is: when Redis crashes, nobody notices. Who wants a second web server gets a second
# Redis, with other notes; and an update of the one restarts the other.
set -eu
engine=${ENGINE:-minirun} image=$1 port=${2:-8081}
here=$(cd "$(dirname "$0")" && pwd)

$engine run -d --name monolith -p "127.0.0.1:$port:80" --restart always \
    -v "$here/app.py:/srv/app.py:ro" -v monolith-notes:/data \
    "$image" sh -c "redis-server --dir /data --appendonly yes --daemonize yes && exec python3 /srv/app.py"
