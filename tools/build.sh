#!/bin/sh
# Builds a pinned Go program, one of the folders here: tools/build.sh livekit-server|livekit-speakers|helm|deploy-check OUTPUT
# Needs a Go toolchain (GO, default: the one on the path); go.sum pins every module.
set -eu
out=$(realpath -m "$2")
cd "$(dirname "$0")/$1"
package=.
[ -e main.go ] || package=$(awk '$1 == "tool" { print $2 }' go.mod)
mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 "${GO:-go}" build -trimpath -mod=readonly -ldflags '-s -w' -o "$out.part" "$package"
mv "$out.part" "$out"
