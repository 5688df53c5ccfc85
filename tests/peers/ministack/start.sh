#!/usr/bin/env bash
# start.sh VENV PORT DIR: runs ministack on 127.0.0.1:PORT, with all files under DIR.
# The caller waits for http://127.0.0.1:PORT/_ministack/health and ends the process group.
set -euo pipefail
venv=$1 port=$2 dir=$3
mkdir -p "$dir/tmp"
export BIND_HOST=127.0.0.1 MINISTACK_HOST=localhost GATEWAY_PORT=$port
# Functions call AWS at this endpoint.
export AWS_ENDPOINT_URL=http://127.0.0.1:$port
# Every call is checked against the policies of its caller; functions have their roles.
export AUTH=true
# No other listeners, no persistence.
export SFTP_ENABLED=0 IOT_MTLS_ENABLED=0
export TMPDIR=$dir/tmp STATE_DIR=$dir/state S3_DATA_DIR=$dir/s3
exec "$venv/bin/python" -m ministack
