// Talks to Flagstop with the CloudEvents SDK for Go: see ../README.md for what goes in and comes out.
//
// The SDK's own transports are AMQP 1.0 and clients of its choice; its binding package serves any other client. On RabbitMQ
// events are written with the header prefix `cloudEvents:` and read with `cloudEvents_`.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
)

const limit = 60 * time.Second

var channels = map[string]string{"flagstop.status": "status", "flagstop.out": "out"}

// What is to be published, a line of the input.
type order struct {
	Mode  string      `json:"mode"`
	Event event.Event `json:"event"`
}

// What was received, a line of the output.
type told struct {
	Channel   string         `json:"channel"`
	Event     *event.Event   `json:"event"`
	Transport map[string]any `json:"transport"`
}

type bus interface {
	publish(ctx context.Context, message *wire, ty string) error
	receive(ctx context.Context) ([]told, error)
	writing() string
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, prefix string) error {
	open := onRabbitMQ
	if strings.HasPrefix(url, "kafka:") {
		open = onKafka
	}
	bus, err := open(ctx, url, prefix)
	if err != nil {
		return err
	}
	waiting := map[string]bool{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var one order
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return err
		}
		message := &wire{prefix: bus.writing()}
		force := binding.WithForceBinary(ctx)
		if one.Mode == "structured" {
			force = binding.WithForceStructured(ctx)
		}
		if _, err := binding.Write(force, binding.ToMessage(&one.Event), message, message); err != nil {
			return err
		}
		if err := bus.publish(ctx, message, one.Event.Type()); err != nil {
			return err
		}
		waiting["out "+one.Event.ID()] = true
		waiting["status "+one.Event.ID()] = true
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for len(waiting) > 0 {
		received, err := bus.receive(ctx)
		if err != nil {
			return errors.Join(err, fmt.Errorf("still open: %v", waiting))
		}
		for _, one := range received {
			line, err := json.Marshal(one)
			if err != nil {
				return err
			}
			fmt.Println(string(line))
			if one.Channel == "out" {
				delete(waiting, "out "+one.Event.Subject())
			} else if strings.HasSuffix(one.Event.Type(), ".workflow.completed.v1") {
				delete(waiting, fmt.Sprintf("status %v", one.Event.Extensions()["businesskey"]))
			}
		}
	}
	return nil
}
