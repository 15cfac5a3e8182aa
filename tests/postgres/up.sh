#!/usr/bin/env bash
# A PostgreSQL server of its own on loopback, with an empty database `prefect`, from Debian's packages; no root needed.
#   up.sh start FOLDER PORT      prints the address for PREFECT_SERVER_DATABASE_CONNECTION_URL
#   up.sh stop FOLDER
set -euo pipefail
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || { echo "no PostgreSQL here; apt-get install postgresql" >&2; exit 3; }

# PostgreSQL refuses to run as root: its own user does it then.
as_owner() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }

folder=$2
case $1 in
  start)
    port=$3
    mkdir -p "$folder"
    [ "$(id -u)" != 0 ] || chown postgres "$folder"
    cd "$folder"
    as_owner "$bin/initdb" -D "$folder/data" -A trust -U postgres >/dev/null
    as_owner "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/log" start >/dev/null \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder -c fsync=off"
    as_owner "$bin/createdb" -h 127.0.0.1 -p "$port" -U postgres prefect
    echo "postgresql+asyncpg://postgres@127.0.0.1:$port/prefect"
    ;;
  stop) cd "$folder" && as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null ;;
esac
