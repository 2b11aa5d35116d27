#!/bin/sh
# Creates the secrets of compose.yaml in the folder secrets. Existing files are kept. The files are readable by all users,
# because the users of the containers must read them; the folder's mode excludes other users of this machine.
set -eu
cd "$(dirname "$0")"
command -v openssl >/dev/null || {
  echo 'create-secrets.sh needs openssl, which is not installed. Nothing was changed.' >&2
  exit 1
}
mkdir -p secrets
chmod 700 secrets
secret() {
  [ -n "$2" ] || exit 1
  [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
}
secret secrets-key "$(openssl rand -base64 32)"
secret admin-api-key "$(openssl rand -hex 32)"
secret metrics-token "$(openssl rand -hex 32)"
secret grafana-password "$(openssl rand -hex 16)"
secret postgres-password "$(openssl rand -hex 24)"
secret nats-password "$(openssl rand -hex 24)"
secret database-url "postgres://webhooks:$(cat secrets/postgres-password)@postgres:5432/webhooks"
secret nats-url "nats://engine:$(cat secrets/nats-password)@nats:4222"
secret nats.conf "include ../nats.conf
authorization { user: engine, password: \"$(cat secrets/nats-password)\" }
"
chmod 644 secrets/*
