package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// A message of either broker: what the SDK's binding package writes into and reads from.
type wire struct {
	prefix      string
	contentType string
	headers     map[string]string
	body        []byte
}

var (
	_ binding.Message               = (*wire)(nil)
	_ binding.MessageMetadataReader = (*wire)(nil)
	_ binding.StructuredWriter      = (*wire)(nil)
	_ binding.BinaryWriter          = (*wire)(nil)
)

func (w *wire) event(ctx context.Context) (*event.Event, error) {
	received, err := binding.ToEvent(ctx, w)
	if err == nil && !utf8.Valid(received.Data()) {
		// The SDK writes data that came in binary mode as text into JSON, unless it is told that it is none.
		received.DataBase64 = true
	}
	return received, err
}

// Reading.

func (w *wire) version() spec.Version {
	return spec.WithPrefix(w.prefix).Version(w.headers[w.prefix+"specversion"])
}

func (w *wire) ReadEncoding() binding.Encoding {
	switch {
	case format.IsFormat(w.contentType):
		return binding.EncodingStructured
	case w.version() != nil:
		return binding.EncodingBinary
	}
	return binding.EncodingUnknown
}

func (w *wire) ReadStructured(ctx context.Context, writer binding.StructuredWriter) error {
	if !format.IsFormat(w.contentType) {
		return binding.ErrNotStructured
	}
	return writer.SetStructuredEvent(ctx, format.Lookup(w.contentType), bytes.NewReader(w.body))
}

func (w *wire) ReadBinary(_ context.Context, writer binding.BinaryWriter) error {
	version := w.version()
	if version == nil {
		return binding.ErrNotBinary
	}
	for name, value := range w.headers {
		attribute, isOurs := strings.CutPrefix(name, w.prefix)
		if !isOurs {
			continue
		}
		var err error
		if known := version.Attribute(name); known != nil {
			err = writer.SetAttribute(known, value)
		} else {
			err = writer.SetExtension(attribute, value)
		}
		if err != nil {
			return err
		}
	}
	if w.contentType != "" {
		if err := writer.SetAttribute(version.AttributeFromKind(spec.DataContentType), w.contentType); err != nil {
			return err
		}
	}
	return writer.SetData(bytes.NewReader(w.body))
}

func (w *wire) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := w.version().AttributeFromKind(kind)
	if attribute == nil {
		return nil, nil
	}
	value := w.GetExtension(attribute.Name())
	if kind == spec.DataContentType {
		value = w.contentType
	}
	return attribute, value
}

func (w *wire) GetExtension(name string) any {
	if value, isThere := w.headers[w.prefix+name]; isThere {
		return value
	}
	return nil
}

func (w *wire) Finish(error) error { return nil }

// Writing.

func (w *wire) SetStructuredEvent(_ context.Context, format format.Format, event io.Reader) error {
	w.contentType = format.MediaType()
	return w.SetData(event)
}

func (w *wire) Start(context.Context) error {
	w.headers = map[string]string{}
	return nil
}

func (w *wire) SetAttribute(attribute spec.Attribute, value any) error {
	if attribute.Kind() == spec.DataContentType {
		text, err := types.Format(value)
		w.contentType = text
		return err
	}
	return w.SetExtension(attribute.Name(), value)
}

func (w *wire) SetExtension(name string, value any) error {
	if value == nil {
		delete(w.headers, w.prefix+name)
		return nil
	}
	text, err := types.Format(value)
	w.headers[w.prefix+name] = text
	return err
}

func (w *wire) SetData(data io.Reader) error {
	body, err := io.ReadAll(data)
	w.body = body
	return err
}

func (w *wire) End(context.Context) error { return nil }
