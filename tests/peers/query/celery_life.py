"""A Celery task on SQS: sent, handled by a worker, acknowledged. Takes the endpoint's URL.

The worker polls with kombu's own HTTP client, the rest goes through boto3; both speak AWS Query here.
"""
import sys
import threading

import boto3
import celery
import kombu
from celery.contrib.testing.worker import start_worker

address = sys.argv[1].removeprefix("http://")
app = celery.Celery("peer", broker=f"sqs://test:test@{address}")
app.conf.update(
    task_default_queue="celery-peer",
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_transport_options={"region": "us-east-1", "is_secure": False, "wait_time_seconds": 1, "visibility_timeout": 60},
    broker_connection_retry_on_startup=False,
)
done, all_done = [], threading.Event()


@app.task
def add(x, y):
    done.append(x + y)
    if len(done) == 3:
        all_done.set()


for n in range(3):
    add.delay(n, n)
with start_worker(app, perform_ping_check=False, pool="solo", shutdown_timeout=10):
    assert all_done.wait(30), f"done after 30 s: {done}"
assert sorted(done) == [0, 2, 4], done
sqs = boto3.client("sqs", endpoint_url=sys.argv[1], region_name="us-east-1")
queue = sqs.get_queue_url(QueueName="celery-peer")["QueueUrl"]
names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
assert list(counts.values()) == ["0", "0"], counts
protocol = sqs.meta.service_model.metadata["protocol"]
print("Celery", celery.__version__, "kombu", kombu.__version__, "boto3", boto3.__version__, "speaks", protocol)
