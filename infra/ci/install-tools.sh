#!/bin/sh
# Installs what some tests need on Debian or Ubuntu: Docker's engine and a registry for those marked
# "docker", Chromium for those that open a page, promtool for those of Prometheus' rules. Does nothing
# where all are there, and starts none.
set -eu

missing=""
command -v dockerd >/dev/null 2>&1 || missing="docker.io"
command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
if [ -z "$missing" ]; then
    echo "dockerd, docker-registry, chromium and promtool are installed"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install-tools.sh: user $(id -un) cannot install packages; run it as root" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086  # a list of packages
apt-get install -q -y --no-install-recommends $missing
