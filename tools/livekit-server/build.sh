#!/bin/sh
# Builds the pinned livekit-server: tools/livekit-server/build.sh OUTPUT
# Needs a Go toolchain (GO, default: the one on the path); go.sum pins every module.
set -eu
out=$(realpath -m "$1")
cd "$(dirname "$0")"
mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 "${GO:-go}" build -trimpath -mod=readonly -ldflags '-s -w' -o "$out.part" github.com/livekit/livekit-server/cmd/server
mv "$out.part" "$out"
