"""Prints a free port for a RabbitMQ node; the ports that node.sh derives from it are free too."""

import random
import socket
import sys
from contextlib import ExitStack

OFFSETS = (0, 1, 10_000, 20_000)

# With every offset below the ephemeral ports of the kernel.
for port in random.sample(range(10_100, 12_700), 100):
    with ExitStack() as taken:
        try:
            for offset in OFFSETS:
                taken.enter_context(socket.create_server(("127.0.0.1", port + offset)))
        except OSError:
            continue
    print(port)
    sys.exit()
sys.exit("no free ports for RabbitMQ")
