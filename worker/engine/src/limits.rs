//! Every limit of the engine, named in one place, with its unit and its reason.
//!
//! Nothing in the engine may grow without one of these; a new loop or buffer gets its bound here.

use serde::{Deserialize, Serialize};

/// What a definition, an expression and one `apply` may use up. All of it can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of one definition file: it is read whole and kept by every worker.
    pub definition_bytes_max: usize,
    /// Levels of nesting in a definition. The compiler walks it recursively.
    pub yaml_depth_max: usize,
    /// Nodes of a definition, counted after aliases are expanded: stops a "billion laughs".
    pub yaml_nodes_max: usize,
    /// Bytes of one expression's text.
    pub expression_bytes_max: usize,
    /// Words and signs in one expression: they nest when it is compiled, and that nesting lives on the stack.
    pub expression_tokens_max: usize,
    /// Steps of one evaluation (terms run, values made, comparisons): stops endless filters.
    pub expression_steps_max: u64,
    /// Bytes that one evaluation may build, all intermediate values together.
    pub expression_bytes_built_max: u64,
    /// Bytes of stack that one evaluation may use: deep recursion becomes an error while there is still room to unwind.
    pub expression_stack_bytes_max: usize,
    /// Levels of nesting of a value inside an evaluation; the result must obey `json_depth_max`.
    pub expression_depth_max: u32,
    /// Bytes of one result of an expression, written as JSON.
    pub expression_output_bytes_max: usize,
    /// Levels of nesting of any JSON value that comes in or is made. 127 is where the usual JSON readers stop too.
    pub json_depth_max: usize,
    /// Bytes of one event's data or of a workflow's input.
    pub payload_bytes_max: usize,
    /// Bytes of the `type` of an event that `emit` makes: RabbitMQ's routing keys have at most 255.
    pub event_type_bytes_max: usize,
    /// Bytes of one other attribute of an event that `emit` makes. What is longer is not taken by workers that hear it
    /// (`worker.codec.attribute_bytes_max`).
    pub event_attribute_bytes_max: usize,
    /// Extension attributes of an event that `emit` makes. More are not taken either (`worker.codec.extensions_max`).
    pub event_extensions_max: usize,
    /// Bytes of all attributes of an event that `emit` makes, names included: they are headers, for which brokers have little
    /// room (`bus.headers_bytes_max`).
    pub event_attributes_bytes_max: usize,
    /// Bytes of `output` in a completed event; larger outputs are left out of it.
    pub output_bytes_max: usize,
    /// Steps of the state machine in one `apply`; the rest goes on in the next transition, so that a batch is not held up.
    pub steps_per_apply_max: u32,
    /// Events that one `apply` may cause before it is cut.
    pub events_per_apply_max: u32,
    /// Bytes of events and of values made by one `apply` before it is cut.
    pub bytes_per_apply_max: usize,
    /// Tasks that an instance may enter without waiting for anything: stops loops without an end.
    pub steps_without_wait_max: u64,
    /// Workflows above a child, each started by the next: stops workflows that start themselves.
    pub workflow_depth_max: u32,
    /// Bytes from which on a value is stored once, apart from the snapshots that refer to it (D19).
    pub large_value_bytes: usize,
    /// Bytes of an HTTP response's body.
    pub http_response_bytes_max: usize,
    /// Identities of events that an instance remembers, so that it hears each once.
    pub heard_events_max: usize,
    /// Filters of one `listen` or `schedule.on`: each is a bookmark.
    pub strategy_filters_max: usize,
    /// Events that one `listen`, or one open set of `schedule.on`, collects.
    pub collected_events_max: usize,
    /// Bytes of the events that one `listen`, or the open sets under one key, hold: they are in every snapshot.
    pub collected_bytes_max: usize,
    /// Events that a `listen` with `foreach` has consumed and not begun with; further ones stay parked meanwhile.
    pub listen_queue_max: usize,
    /// Sets of `schedule.on` that are open at once under one key.
    pub open_sets_max: usize,
    /// Retries of a `try` whose policy sets no `count`.
    pub retries_max: u32,
    /// Bytes of one external document of a definition.
    pub resource_bytes_max: usize,
    /// Bytes of all external documents of a definition: every worker keeps them.
    pub bundle_bytes_max: usize,
    /// External documents of a definition, and rounds in which they may name each other.
    pub resources_max: usize,
    /// Calls of functions inside of each other: recursion that never ends becomes an error.
    pub function_depth_max: usize,
    /// Days of the longest duration: keeps sums of times within 64 bits.
    pub duration_days_max: u32,
    /// When state is written: `effects` (before and after each side effect), `suspend` (only when waiting or ended: side effects
    /// since then are repeated after a crash, with the same idempotency key), or, beyond `effects`, after pure tasks, too:
    /// `task` (after each), `{ tasks: 10 }`, `{ every: PT1S }`, `{ when: EXPRESSION }`. Definitions may say otherwise.
    pub checkpoint: String,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            definition_bytes_max: 1 << 20,
            yaml_depth_max: 64,
            yaml_nodes_max: 100_000,
            expression_bytes_max: 64 << 10,
            expression_tokens_max: 2_000,
            expression_steps_max: 2_000_000,
            expression_bytes_built_max: 64 << 20,
            expression_stack_bytes_max: 512 << 10,
            expression_depth_max: 500,
            expression_output_bytes_max: 4 << 20,
            json_depth_max: 127,
            payload_bytes_max: 1 << 20,
            event_type_bytes_max: 255,
            event_attribute_bytes_max: 1_024,
            event_extensions_max: 64,
            event_attributes_bytes_max: 48 << 10,
            output_bytes_max: 64 << 10,
            steps_per_apply_max: 10_000,
            events_per_apply_max: 10_000,
            bytes_per_apply_max: 8 << 20,
            steps_without_wait_max: 5_000_000,
            workflow_depth_max: 16,
            large_value_bytes: 32 << 10,
            http_response_bytes_max: 4 << 20,
            heard_events_max: 10_000,
            strategy_filters_max: 256,
            collected_events_max: 10_000,
            collected_bytes_max: 16 << 20,
            listen_queue_max: 100,
            open_sets_max: 1_000,
            retries_max: 10,
            resource_bytes_max: 4 << 20,
            bundle_bytes_max: 16 << 20,
            resources_max: 100,
            function_depth_max: 100,
            duration_days_max: 36_525,
            checkpoint: "effects".to_owned(),
        }
    }
}
