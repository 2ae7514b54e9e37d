#!/bin/sh
# One command from nothing to a running gateway with its neighbours. Secrets are made once and kept in .env beside this file.
#   deploy/compose/up.sh [--secrets-only | arguments of docker compose up]
set -eu
cd "$(dirname "$0")"
secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -e .env ]; then
  umask 077
  key=gateway secret=$(secret)
  # Where browsers and the gateway both reach LiveKit's media: an address of this machine, not of its container.
  address=$(hostname -I 2>/dev/null | cut -d' ' -f1)
  cat > .env.part <<END
POSTGRES_PASSWORD=$(secret)
REDIS_PASSWORD=$(secret)
LIVEKIT_API_KEY=$key
LIVEKIT_API_SECRET=$secret
LIVEKIT_CONFIG='{port: 7880, prometheus_port: 6789, rtc: {tcp_port: 7881, udp_port: 7882, node_ip: ${address:-127.0.0.1}}, keys: {$key: $secret}, webhook: {api_key: $key, urls: ["http://gateway:8080/api/livekit/webhook"]}}'
GATEWAY_API_TOKENS=$(secret)
GATEWAY_JWT_SECRET=$(secret)
GRAFANA_PASSWORD=$(secret)
# A key of the speech provider, for real text; without one the offline recogniser hears English, badly.
GLADIA_API_KEY=
# How browsers and encoders reach this machine.
GATEWAY_PUBLIC_URL=http://localhost:8080
END
  mv .env.part .env
  echo "made deploy/compose/.env: secrets of this installation; the API's token is GATEWAY_API_TOKENS, Grafana's password GRAFANA_PASSWORD" >&2
fi
[ "${1:-}" = --secrets-only ] && exit
exec docker compose up --build --wait "$@"
