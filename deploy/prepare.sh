#!/bin/sh
# Makes what the compose files need beside them: secrets, folders, .env. Prints what it made and what was there; nothing
# that is there is changed, so it can be run again at any time.
set -eu
umask 077
cd "$(dirname -- "$0")"

fail() {
  printf 'prepare.sh: %s\n' "$*" >&2
  exit 1
}

told() { printf '%-6s  %s\n' "$1" "$2"; }

# Whom the gateway runs as: you; no root in a container if you are root.
uid=$(id -u)
gid=$(id -g)
if [ "$uid" = 0 ]; then
  uid=10001
  gid=10001
fi

# What root has made for the gateway is the gateway's.
give() { if [ "$(id -u)" = 0 ]; then chown "$uid:$gid" "$1"; fi; }

make_folder() {
  if [ -d "$1" ]; then
    told exists "$1/"
    return
  fi
  mkdir -p "$1"
  give "$1"
  told made "$1/"
}

# make_file PATH: from standard input, whole or not at all, and never over another.
make_file() {
  if [ -e "$1" ]; then
    [ -s "$1" ] || fail "$1 is empty: delete it, and run this again"
    told exists "$1"
    return
  fi
  cat >"$1.new"
  [ -s "$1.new" ] || fail "nothing came for $1: look whether /dev/urandom, od, head and base64 are there"
  if [ "$1" != .env ]; then give "$1.new"; fi
  ln "$1.new" "$1" || fail "$1 cannot be made"
  rm "$1.new"
  told made "$1"
}

# Letters and digits only, so that it means the same in every file and URL.
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

make_folder secrets
password | make_file secrets/postgres_password
password | make_file secrets/redis_password
head -c 32 /dev/urandom | base64 | make_file secrets/master_key

make_folder data
for name in gateway postgres redis; do make_folder "data/$name"; done

sed "s/^SUBGATE_UID=.*/SUBGATE_UID=$uid/; s/^SUBGATE_GID=.*/SUBGATE_GID=$gid/" .env.example | make_file .env

cat <<'END'

Keep a copy of secrets/master_key elsewhere: without it the stored credentials cannot be opened again.
Next, with data in volumes:  docker compose up -d --build
or in the folders of data/:  docker compose -f docker-compose.local.yml up -d --build
END
