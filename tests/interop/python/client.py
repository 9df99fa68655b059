"""Talks to Flagstop with the CloudEvents SDK for Python: see ../README.md for what goes in and comes out.

On RabbitMQ the SDK's RabbitMQ binding writes (headers `ce-…`), and its AMQP binding reads what Flagstop publishes
(headers `cloudEvents_…`).
"""

import base64
import json
import sys
import time
from urllib.parse import urlsplit

from cloudevents.core.bindings import amqp, kafka, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse

CHANNELS = {"status": "flagstop.status", "out": "flagstop.out"}
LIMIT_S = 60


def event_of(described):
    attributes = {name: value for name, value in described.items() if name not in ("data", "data_base64")}
    attributes["time"] = isoparse(attributes["time"])
    data = described.get("data")
    if "data_base64" in described:
        data = base64.b64decode(described["data_base64"])
    return CloudEvent(attributes, data)


def told(channel, event, transport):
    return {"channel": channel, "event": json.loads(JSONFormat().write(event)), "transport": transport}


class OnKafka:
    def __init__(self, url, prefix):
        from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

        servers = {"bootstrap.servers": urlsplit(url).netloc}
        self.prefix = prefix
        self.producer = Producer(servers)
        self.consumer = Consumer({**servers, "group.id": prefix + "python", "enable.auto.commit": False})
        self.channels = {prefix + topic: channel for channel, topic in CHANNELS.items()}
        self.consumer.assign([
            TopicPartition(topic, partition, OFFSET_BEGINNING)
            for topic in self.channels
            for partition in self.consumer.list_topics(topic, 10).topics[topic].partitions
        ])

    def publish(self, mode, event):
        message = (kafka.to_structured_event if mode == "structured" else kafka.to_binary_event)(event)
        self.producer.produce(
            self.prefix + "flagstop.in", message.value, key=message.key, headers=list(message.headers.items())
        )

    def flush(self):
        assert self.producer.flush(10) == 0, "Kafka did not take everything"

    def receive(self):
        message = self.consumer.poll(1)
        if message is None:
            return None
        assert message.error() is None, message.error()
        # The default would put the key over the attribute `partitionkey`.
        event = kafka.from_kafka_event(kafka.KafkaMessage(dict(message.headers()), None, message.value()))
        return told(self.channels[message.topic()], event, {"key": message.key().decode()})


class OnRabbitMQ:
    def __init__(self, url, prefix):
        import pika

        self.pika, self.prefix = pika, prefix
        self.channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self.channel.confirm_delivery()
        self.channels = {prefix + exchange: channel for channel, exchange in CHANNELS.items()}
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        for exchange in self.channels:
            self.channel.queue_bind(self.queue, exchange, "#")

    def publish(self, mode, event):
        message = (rabbitmq.to_structured_event if mode == "structured" else rabbitmq.to_binary_event)(event)
        properties = self.pika.BasicProperties(headers=message.headers, content_type=message.content_type)
        exchange = self.prefix + "flagstop.in"
        self.channel.basic_publish(exchange, event.get_type(), message.body, properties, mandatory=True)

    def flush(self):
        pass

    def receive(self):
        method, properties, body = next(self.channel.consume(self.queue, auto_ack=True, inactivity_timeout=1))
        if method is None:
            return None
        content_type = {"content-type": properties.content_type} if properties.content_type else {}
        event = amqp.from_amqp_event(amqp.AMQPMessage(content_type, properties.headers, body))
        return told(self.channels[method.exchange], event, {
            "messageId": properties.message_id,
            "type": properties.type,
            "timestamp": properties.timestamp,
            "correlationId": properties.correlation_id,
            "routingKey": method.routing_key,
        })


def main(url, prefix):
    bus = OnKafka(url, prefix) if url.startswith("kafka:") else OnRabbitMQ(url, prefix)
    echoed, completed = set(), set()
    for line in sys.stdin:
        order = json.loads(line)
        event = event_of(order["event"])
        bus.publish(order["mode"], event)
        echoed.add(event.get_id())
        completed.add(event.get_id())
    bus.flush()
    until = time.monotonic() + LIMIT_S
    while echoed or completed:
        assert time.monotonic() < until, f"no echo of {echoed}, no completion of {completed}"
        received = bus.receive()
        if received is None:
            continue
        print(json.dumps(received))
        event = received["event"]
        if received["channel"] == "out":
            echoed.discard(event["subject"])
        elif event["type"].endswith(".workflow.completed.v1"):
            completed.discard(event["businesskey"])


main(*sys.argv[1:])
