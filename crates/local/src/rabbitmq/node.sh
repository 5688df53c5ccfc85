#!/usr/bin/env bash
# A private RabbitMQ node for development and tests: no root, no service manager, no files outside its folder, and listeners
# only on the loopback address.
#
#   node.sh run FOLDER PORT         runs it until SIGTERM (orderly) or SIGKILL to the process group; its data is in FOLDER
#   node.sh attend FOLDER PORT      the same, and kills the whole process group when its standard input ends
#   node.sh ctl FOLDER PORT WORD…   rabbitmqctl for it
#
# AMQP is on PORT, the port mapper on PORT + 1, the management API on PORT + 10000, distribution on PORT + 20000; user and
# password are guest. The script replaces itself with the Erlang machine, so both have the same process id. Run it in a new
# process group, which its port mapper joins.
set -euo pipefail

(($# >= 3)) || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
command=$1 folder=$(mkdir -p "$2" && cd "$2" && pwd) port=$3
shift 3

# Packages install a wrapper on PATH that requires the user rabbitmq, so the real command is searched first.
find_command() {
    local each
    for each in "/usr/lib/rabbitmq/bin/$1" "/opt/homebrew/opt/rabbitmq/sbin/$1" "/usr/local/opt/rabbitmq/sbin/$1" \
        "$(command -v "$1" || true)"; do
        [[ -x $each ]] && echo "$each" && return
    done
    echo "$1 is not installed; it comes with RabbitMQ: apt-get install rabbitmq-server, or brew install rabbitmq" >&2
    exit 127
}

export HOME=$folder LANG=C.UTF-8
export RABBITMQ_NODENAME=sluicegate$port@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$port
export RABBITMQ_DIST_PORT=$((port + 20000)) ERL_EPMD_PORT=$((port + 1)) ERL_EPMD_ADDRESS=127.0.0.1
export RABBITMQ_MNESIA_BASE=$folder/mnesia RABBITMQ_LOG_BASE=$folder/log RABBITMQ_SCHEMA_DIR=$folder/schema
export RABBITMQ_GENERATED_CONFIG_DIR=$folder/generated RABBITMQ_CONFIG_FILE=$folder/rabbitmq.conf
export RABBITMQ_ADVANCED_CONFIG_FILE=$folder/advanced.config RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_ENABLED_PLUGINS_FILE=$folder/enabled_plugins RABBITMQ_PID_FILE=$folder/pid
# One scheduler that sleeps when idle, so that the node does not slow down the developer's machine.
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"
export RABBITMQ_CTL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none"

case $command in
run | attend)
    server=$(find_command rabbitmq-server)
    mkdir -p "$folder"/{mnesia,log,schema,generated}
    # Frequent statistics, and a log of quorum queues smaller than the default of half a gigabyte.
    cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
management.tcp.ip = 127.0.0.1
management.tcp.port = $((port + 10000))
loopback_users.guest = true
log.file = false
log.console = true
log.console.level = warning
collect_statistics_interval = 1000
raft.wal_max_size_bytes = 64000000
CONF
    echo '[rabbitmq_management].' >"$folder/enabled_plugins"
    if [[ $command == attend ]]; then
        # The parent may be killed before it can stop the node: its end of the pipe then closes.
        exec 3<&0
        { cat <&3 >/dev/null; kill -KILL 0; } >/dev/null 2>&1 &
        exec 3<&-
    fi
    # Started here, because a port mapper started by Erlang is a daemon that outlives the node.
    epmd -address 127.0.0.1 -port "$ERL_EPMD_PORT" </dev/null >/dev/null 2>&1 &
    # With input allowed, the script becomes the Erlang machine instead of its parent.
    RABBITMQ_ALLOW_INPUT=1 exec "$server" -noinput </dev/null
    ;;
ctl) exec "$(find_command rabbitmqctl)" "$@" </dev/null ;;
*) echo "unknown command $command" >&2 && exit 2 ;;
esac
