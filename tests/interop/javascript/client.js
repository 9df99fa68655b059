// Talks to Flagstop with the CloudEvents SDK for JavaScript: see ../README.md for what goes in and comes out.
//
// The SDK has a Kafka binding and none for RabbitMQ: there its HTTP binding serves, with `cloudEvents_` for `ce-`.
"use strict";

const { CloudEvent, HTTP, Kafka } = require("cloudevents");

const CHANNELS = { status: "flagstop.status", out: "flagstop.out" };
const LIMIT_MS = 60_000;

function eventOf({ data_base64: base64, ...described }) {
  return new CloudEvent(base64 === undefined ? described : { ...described, data: new Uint8Array(Buffer.from(base64, "base64")) });
}

// Bytes as they are, text as it is, everything else as JSON.
function bytesOf(body) {
  if (body === undefined || body === null) return Buffer.alloc(0);
  if (body instanceof Uint8Array) return Buffer.from(body);
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}

function strings(headers) {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined).map(([name, value]) => [name, String(value)]));
}

async function onKafka(url, prefix, receive) {
  const { Kafka: Client, logLevel } = require("kafkajs");
  const client = new Client({ brokers: new URL(url).host.split(","), logLevel: logLevel.ERROR });
  const producer = client.producer();
  const consumer = client.consumer({ groupId: `${prefix}javascript` });
  const channels = Object.fromEntries(Object.entries(CHANNELS).map(([channel, topic]) => [prefix + topic, channel]));
  await producer.connect();
  await consumer.connect();
  await consumer.subscribe({ topics: Object.keys(channels), fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ topic, message }) => {
      const key = message.key.toString();
      const event = Kafka.toEvent({ headers: strings(message.headers), key, value: message.value });
      receive(channels[topic], event, { key });
    },
  });
  return {
    publish: async (mode, event) => {
      const message = mode === "structured" ? Kafka.structured(event) : Kafka.binary(event);
      const { key, headers, timestamp } = message;
      const wire = { key, headers: strings(headers), value: bytesOf(message.value), timestamp };
      await producer.send({ topic: `${prefix}flagstop.in`, messages: [wire] });
    },
    close: () => Promise.all([producer.disconnect(), consumer.disconnect()]),
  };
}

async function onRabbitMQ(url, prefix, receive) {
  const connection = await require("amqplib").connect(url);
  const channel = await connection.createConfirmChannel();
  const channels = Object.fromEntries(Object.entries(CHANNELS).map(([name, exchange]) => [prefix + exchange, name]));
  const { queue } = await channel.assertQueue("", { exclusive: true });
  for (const exchange of Object.keys(channels)) await channel.bindQueue(queue, exchange, "#");
  await channel.consume(queue, ({ content, fields, properties }) => {
    const attributes = Object.entries(properties.headers).map(([name, value]) => [name.replace(/^cloudEvents_/, "ce-"), value]);
    const headers = { ...Object.fromEntries(attributes), "content-type": properties.contentType };
    const body = properties.contentType === "application/json" ? content.toString() : content;
    const { messageId, type, timestamp, correlationId } = properties;
    receive(channels[fields.exchange], HTTP.toEvent({ headers, body }), { messageId, type, timestamp, correlationId, routingKey: fields.routingKey });
  }, { noAck: true });
  return {
    publish: async (mode, event) => {
      const { headers: all, body } = mode === "structured" ? HTTP.structured(event) : HTTP.binary(event);
      const { "content-type": contentType, ...attributes } = all;
      const headers = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name.replace(/^ce-/, "cloudEvents_"), value]));
      channel.publish(`${prefix}flagstop.in`, event.type, bytesOf(body), { headers, contentType, mandatory: true });
      await channel.waitForConfirms();
    },
    close: () => connection.close(),
  };
}

async function main(url, prefix) {
  let finish;
  const finished = new Promise((resolve) => { finish = resolve; });
  const [echoed, completed] = [new Set(), new Set()];
  let all = false;
  const receive = (channel, event, transport) => {
    console.log(JSON.stringify({ channel, event, transport }));
    if (channel === "out") echoed.delete(event.subject);
    else if (event.type.endsWith(".workflow.completed.v1")) completed.delete(event.businesskey);
    if (all && echoed.size + completed.size === 0) finish();
  };
  const bus = await (url.startsWith("kafka:") ? onKafka : onRabbitMQ)(url, prefix, receive);
  const orders = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
  for (const { event: { id } } of orders) {
    echoed.add(id);
    completed.add(id);
  }
  all = true;
  for (const { mode, event } of orders) await bus.publish(mode, eventOf(event));
  const limit = setTimeout(() => {
    console.error("no echo of", echoed, "no completion of", completed);
    process.exit(1);
  }, LIMIT_MS);
  await finished;
  clearTimeout(limit);
  await bus.close();
}

main(...process.argv.slice(2)).catch((why) => {
  console.error(why);
  process.exit(1);
});
