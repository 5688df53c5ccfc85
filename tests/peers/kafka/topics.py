"""Creates topics with confluent-kafka's AdminClient: topics.py SERVERS NAME:PARTITIONS[:CONFIG=VALUE]..."""

import sys

from confluent_kafka.admin import AdminClient, NewTopic

servers, *wanted = sys.argv[1:]
topics = []
for each in wanted:
    name, partitions, *settings = each.split(":")
    config = dict(setting.split("=") for setting in settings)
    topics.append(NewTopic(name, int(partitions), 1, config=config))
admin = AdminClient({"bootstrap.servers": servers})
for created in admin.create_topics(topics, request_timeout=20).values():
    created.result(timeout=20)
