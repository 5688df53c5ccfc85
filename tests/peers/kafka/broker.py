"""Runs a broker of one node on 127.0.0.1 in place of this process: broker.py PORT FOLDER."""

import os
import sys

import noida_db

port, folder = sys.argv[1:]
binary = os.path.join(os.path.dirname(noida_db.__file__), "noida-db")
os.chmod(binary, 0o755)
options = ["--data-dir", folder, "--host", "127.0.0.1", "--only", "kafka", "--kafka-port", port]
os.execv(binary, [binary, "start", *options])
