#!/bin/sh
# Installs Docker's engine on Debian or Ubuntu for the tests marked "docker". Does nothing where
# it is installed. The tests start a daemon of their own; this starts none.
set -eu

if command -v dockerd >/dev/null 2>&1; then
    echo "dockerd is installed: $(dockerd --version)"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install-docker.sh: user $(id -un) cannot install packages; run it as root" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends docker.io
dockerd --version
