package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

type rabbitBus struct {
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	prefix     string
}

func onRabbitMQ(_ context.Context, url, prefix string) (bus, error) {
	connection, err := amqp.Dial(url)
	if err != nil {
		return nil, err
	}
	channel, err := connection.Channel()
	if err != nil {
		return nil, err
	}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return nil, err
	}
	for exchange := range channels {
		if err := channel.QueueBind(queue.Name, "#", prefix+exchange, false, nil); err != nil {
			return nil, err
		}
	}
	deliveries, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	return &rabbitBus{channel, deliveries, prefix}, err
}

func (*rabbitBus) writing() string { return "cloudEvents:" }

func (b *rabbitBus) publish(ctx context.Context, message *wire, ty string) error {
	headers := amqp.Table{}
	for name, value := range message.headers {
		headers[name] = value
	}
	publishing := amqp.Publishing{ContentType: message.contentType, Headers: headers, Body: message.body}
	confirmation, err := b.channel.PublishWithDeferredConfirmWithContext(ctx, b.prefix+"flagstop.in", ty, true, false, publishing)
	if err != nil {
		return err
	}
	if taken, err := confirmation.WaitContext(ctx); err != nil || !taken {
		return errors.Join(err, errors.New("RabbitMQ did not take the message"))
	}
	return nil
}

func (b *rabbitBus) receive(ctx context.Context) ([]told, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case delivery, isOpen := <-b.deliveries:
		if !isOpen {
			return nil, errors.New("RabbitMQ closed the channel")
		}
		message := &wire{prefix: "cloudEvents_", contentType: delivery.ContentType, headers: map[string]string{}, body: delivery.Body}
		for name, value := range delivery.Headers {
			message.headers[name] = fmt.Sprint(value)
		}
		event, err := message.event(ctx)
		if err != nil {
			return nil, err
		}
		transport := map[string]any{
			"messageId":     delivery.MessageId,
			"type":          delivery.Type,
			"timestamp":     delivery.Timestamp.Unix(),
			"correlationId": delivery.CorrelationId,
			"routingKey":    delivery.RoutingKey,
		}
		return []told{{channels[strings.TrimPrefix(delivery.Exchange, b.prefix)], event, transport}}, nil
	}
}
