package main

import (
	"context"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

type kafkaBus struct {
	client *kgo.Client
	prefix string
}

func onKafka(_ context.Context, address, prefix string) (bus, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	var topics []string
	for topic := range channels {
		topics = append(topics, prefix+topic)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(parsed.Host, ",")...),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	return &kafkaBus{client, prefix}, err
}

func (*kafkaBus) writing() string { return "ce_" }

func (b *kafkaBus) publish(ctx context.Context, message *wire, _ string) error {
	record := &kgo.Record{Topic: b.prefix + "flagstop.in", Value: message.body}
	record.Headers = append(record.Headers, kgo.RecordHeader{Key: "content-type", Value: []byte(message.contentType)})
	for name, value := range message.headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return b.client.ProduceSync(ctx, record).FirstErr()
}

func (b *kafkaBus) receive(ctx context.Context) ([]told, error) {
	fetches := b.client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return nil, err
	}
	var all []told
	for _, record := range fetches.Records() {
		message := &wire{prefix: "ce_", headers: map[string]string{}, body: record.Value}
		for _, header := range record.Headers {
			if header.Key == "content-type" {
				message.contentType = string(header.Value)
			} else {
				message.headers[header.Key] = string(header.Value)
			}
		}
		event, err := message.event(ctx)
		if err != nil {
			return nil, err
		}
		channel := channels[strings.TrimPrefix(record.Topic, b.prefix)]
		all = append(all, told{channel, event, map[string]any{"key": string(record.Key)}})
	}
	return all, nil
}
