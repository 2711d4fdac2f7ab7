#!/usr/bin/env bash
# Sets a machine up, called by Ray's launcher over SSH: setup.sh [--gpu]. Run in a login shell of the launcher's user.
# The environment comes from uv.lock, compiled, so that no process compiles torch anew. What fails is said in one line
# that begins with `fifty:`, and left in /var/lib/fifty/marks/failed.
set -Eeuo pipefail
marks=${FIFTY_STATE:-/var/lib/fifty}/marks
home=${FIFTY_HOME:-/opt/fifty}
project=$(cd "$(dirname "$0")/../.." && pwd)
cd "$project"
export PATH="$HOME/.local/bin:$HOME/.uv/bin:$PATH"

doing="looking at the machine"
fail() {
    echo "fifty: the set-up failed while $doing${1:+: $1}" | tee "$marks/failed" >&2
    exit 1
}
trap fail ERR
rm -f "$marks/failed"

install_uv() {
    command -v uv >/dev/null && return
    # Ubuntu's own image has Python, but neither pip nor venv.
    python3 -m venv "$HOME/.uv" >/dev/null 2>&1 || {
        sudo apt-get -qq -o DPkg::Lock::Timeout=120 update
        sudo DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 install python3-venv
        python3 -m venv --clear "$HOME/.uv"
    }
    "$HOME/.uv/bin/pip" install --quiet --disable-pip-version-check uv
}

doing="installing uv"
# Where the environment is there already, as in the tests or in an image of one's own, nothing is installed.
if [ -n "${FIFTY_VENV:-}" ]; then
    [ "$FIFTY_VENV" = "$project/.venv" ] || ln -sfn "$FIFTY_VENV" "$project/.venv"
else
    install_uv
    doing="installing what uv.lock names (uv sync --locked --no-dev)"
    UV_HTTP_TIMEOUT=120 uv sync --quiet --locked --no-dev --compile-bytecode
fi

if [ "${1:-}" = --gpu ] && [ -z "${FIFTY_PRETENDED:-}" ]; then
    doing="looking for the GPU"
    .venv/bin/python -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)' ||
        fail "torch sees no GPU on this machine ($(nvidia-smi -L 2>&1 | head -1 || true)); the image lacks a driver that fits"
fi

doing="installing the watchdog"
if [ ! -f "$home/watchdog" ]; then
    cloud=$(sed 's/.*"cloud": "\([a-z]*\)".*/\1/' "$home/node.json")
    .venv/bin/python -m infra.userdata install "$cloud" | sudo bash
fi
echo "set up"
