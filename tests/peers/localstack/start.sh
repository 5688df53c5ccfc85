#!/usr/bin/env bash
# start.sh VENV PORT DIR: runs LocalStack in host mode on 127.0.0.1:PORT, with all files under DIR.
# The caller waits for http://127.0.0.1:PORT/_localstack/health and ends the process.
set -euo pipefail
venv=$1 port=$2 dir=$3
mkdir -p "$dir/tmp"
export GATEWAY_LISTEN=127.0.0.1:$port LOCALSTACK_HOST=127.0.0.1:$port
# Loopback only, and functions as plain processes, by the plugins of process_executor.py.
export GATEWAY_SERVER=loopback LAMBDA_RUNTIME_EXECUTOR=process
# No downloads and no telemetry.
export DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 EAGER_SERVICE_LOADING=0
export OVERRIDE_IN_DOCKER=0 FILESYSTEM_ROOT=$dir/fs TMPDIR=$dir/tmp
export SQS_ENDPOINT_STRATEGY=path LAMBDA_SYNCHRONOUS_CREATE=1
# AWS requires a minute between purges and before the name of a deleted queue is used again.
export SQS_DELAY_PURGE_RETRY=1 SQS_DELAY_RECENTLY_DELETED=1
# By default the event source mapping waits up to 10 s between polls of an empty queue.
export LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC=0.5 LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC=0.2
exec "$venv/bin/python" -m localstack.runtime.main
