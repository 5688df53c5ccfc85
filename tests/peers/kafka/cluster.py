"""A cluster of three brokers: the mock that librdkafka's own tests use, inside the library that confluent-kafka brings.

Prints the addresses, then obeys one command a line and answers each with "ok":

    topic NAME PARTITIONS        creates a topic
    leader NAME PARTITION BROKER moves a partition to broker 1, 2 or 3
    errors API CODE...           answers the next requests with these error codes, and handles none of them
    down BROKER, up BROKER       closes a broker's connections and port, and opens the port again

It appends as Kafka does: sequence numbers are checked, and a batch that is sent again is appended once.
"""

import ctypes
import glob
import os
import sys

import confluent_kafka

APIS = {"produce": 0, "metadata": 3, "init": 22}
PRODUCER = 0

found = glob.glob(os.path.dirname(confluent_kafka.__file__) + "/../confluent_kafka.libs/librdkafka-*.so*")
library = ctypes.CDLL(found[0])
pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32


def function(name, result, *arguments):
    each = getattr(library, name)
    each.restype, each.argtypes = result, arguments
    return each


create = function("rd_kafka_new", pointer, ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t)
new_cluster = function("rd_kafka_mock_cluster_new", pointer, pointer, ctypes.c_int)
bootstraps = function("rd_kafka_mock_cluster_bootstraps", text, pointer)
topic = function("rd_kafka_mock_topic_create", ctypes.c_int, pointer, text, ctypes.c_int, ctypes.c_int)
leader = function("rd_kafka_mock_partition_set_leader", ctypes.c_int, pointer, text, number, number)
errors = function(
    "rd_kafka_mock_push_request_errors_array", None, pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)
)
down = function("rd_kafka_mock_broker_set_down", ctypes.c_int, pointer, number)
up = function("rd_kafka_mock_broker_set_up", ctypes.c_int, pointer, number)

reason = ctypes.create_string_buffer(512)
handle = create(PRODUCER, None, reason, len(reason))
assert handle, reason.value
cluster = new_cluster(handle, 3)
print(bootstraps(cluster).decode(), flush=True)
for line in sys.stdin:
    match line.split():
        case ["topic", name, partitions]:
            assert topic(cluster, name.encode(), int(partitions), 3) == 0
        case ["leader", name, partition, broker]:
            assert leader(cluster, name.encode(), int(partition), int(broker)) == 0
        case ["errors", api, *codes]:
            errors(cluster, APIS[api], len(codes), (ctypes.c_int * len(codes))(*map(int, codes)))
        case ["down", broker]:
            assert down(cluster, int(broker)) == 0
        case ["up", broker]:
            assert up(cluster, int(broker)) == 0
        case _:
            raise SystemExit(f"not a command: {line}")
    print("ok", flush=True)
