"""Prints each status event of Flagstop once: BUS_URL=amqp://… or kafka://… python subscriber.py

Events come at least once, so whoever acts on them drops by `id`. This one remembers ids in memory; a service that must not
act twice across restarts keeps them in its database, in the transaction of what it does.
"""

import os
from urllib.parse import urlsplit

from cloudevents.core.bindings import amqp, kafka

NAME = os.environ.get("NAME", "subscriber")
STATUS = os.environ.get("STATUS", "flagstop.status")
REMEMBERED = 100_000


def from_rabbitmq(url):
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare(NAME, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(NAME, STATUS, "#")
    channel.basic_qos(prefetch_count=100)
    for method, properties, body in channel.consume(NAME):
        media_type = {"content-type": properties.content_type}
        yield amqp.from_amqp_event(amqp.AMQPMessage(media_type, properties.headers, body))
        channel.basic_ack(method.delivery_tag)


def from_kafka(url):
    from confluent_kafka import Consumer

    brokers = urlsplit(url).netloc
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": NAME, "auto.offset.reset": "earliest"})
    consumer.subscribe([STATUS])
    while True:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            yield kafka.from_kafka_event(kafka.KafkaMessage(dict(message.headers()), message.key(), message.value()))


def main():
    url = os.environ["BUS_URL"]
    seen = {}
    for event in (from_kafka if url.startswith("kafka:") else from_rabbitmq)(url):
        if event.get_id() in seen:
            continue
        seen[event.get_id()] = True
        if len(seen) > REMEMBERED:
            del seen[next(iter(seen))]
        print(event.get_id(), event.get_type(), event.get_data(), flush=True)


main()
