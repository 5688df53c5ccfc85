#!/usr/bin/env bash
# Installs exact versions of packages below target/peers, once. tests/run sources it.
#
#   tests/peers/install.sh pip NAME FOLDER   a Python environment in target/peers/NAME
#   tests/peers/install.sh npm NAME FOLDER   node_modules in target/peers/NAME.npm

# install_pip NAME [FOLDER]: installs the packages of requirements.txt in FOLDER, by default tests/peers/NAME, into a Python
# environment, each exactly.
install_pip() {
    local source=${2:-tests/peers/$1} python stamp
    python=$(find_python) || return
    stamp=$({ "$python" --version && cat "$source/requirements.txt"; } | sha256sum)
    [[ $(cat "$PEERS/$1.stamp" 2>/dev/null) == "$stamp" ]] && return
    rm -rf "$PEERS/$1" "$PEERS/$1.stamp"
    "$python" -m venv "$PEERS/$1" &&
        "$PEERS/$1/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps \
            -r "$source/requirements.txt" && echo "$stamp" >"$PEERS/$1.stamp"
}

# install_npm NAME [FOLDER]: installs the packages of package-lock.json in FOLDER, by default tests/peers/NAME, into a separate
# folder.
install_npm() {
    local source=${2:-tests/peers/$1} stamp
    stamp=$({ node --version && cat "$source"/package*.json; } | sha256sum) || {
        echo "$1 needs Node.js 20.19 or later: node is not on PATH." >&2
        return 1
    }
    [[ $(cat "$PEERS/$1.npm.stamp" 2>/dev/null) == "$stamp" ]] && return
    rm -rf "$PEERS/$1.npm" "$PEERS/$1.npm.stamp" && mkdir -p "$PEERS/$1.npm" && cp "$source"/package*.json "$PEERS/$1.npm" &&
        npm ci --prefix "$PEERS/$1.npm" --ignore-scripts --no-audit --no-fund && echo "$stamp" >"$PEERS/$1.npm.stamp"
}

find_python() {
    local each
    for each in "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 "$(command -v python3.13)"; do
        "$each" -c 'import venv' 2>/dev/null && echo "$each" && return
    done
    echo "LocalStack needs Python 3.13: python3.13 is not on PATH nor in ~/.pyenv/versions." >&2
    return 1
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -uo pipefail
    cd "$(dirname "$0")/../.." && mkdir -p "${PEERS:=$PWD/target/peers}" && "install_$1" "$2" "$3"
fi
