//! What is fixed about each type of status event: its names on the wire and its schema. One row per type.

use crate::StatusKind;

/// What a status event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The whole instance.
    Workflow,
    /// One of its tasks.
    Task,
}

/// The row of one type.
struct Facts {
    wire_type: &'static str,
    scope: Scope,
    what: &'static str,
    time_field: &'static str,
    schema_id: &'static str,
    schema_text: &'static str,
}

/// Spells out one row, so that the type, the `$id` and the file can't drift apart.
macro_rules! facts {
    ($scope:ident, $word:literal, $what:literal, $time_field:literal) => {
        &Facts {
            wire_type: concat!("io.serverlessworkflow.", $word, ".", $what, ".v1"),
            scope: Scope::$scope,
            what: $what,
            time_field: $time_field,
            schema_id: concat!("https://flagstop.io/schemas/status/", $word, ".", $what, ".v1.schema.json"),
            schema_text: include_str!(concat!("../status/", $word, ".", $what, ".v1.schema.json")),
        }
    };
}

impl Scope {
    /// `workflow` or `task`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Task => "task",
        }
    }
}

impl StatusKind {
    const ALL: [Self; 16] = [
        Self::WorkflowStarted,
        Self::WorkflowSuspended,
        Self::WorkflowResumed,
        Self::WorkflowCorrelationStarted,
        Self::WorkflowCorrelationCompleted,
        Self::WorkflowCancelled,
        Self::WorkflowFaulted,
        Self::WorkflowCompleted,
        Self::TaskCreated,
        Self::TaskStarted,
        Self::TaskSuspended,
        Self::TaskResumed,
        Self::TaskRetried,
        Self::TaskCancelled,
        Self::TaskFaulted,
        Self::TaskCompleted,
    ];

    /// Every type that the specification requires.
    #[must_use]
    pub const fn all() -> &'static [Self] {
        &Self::ALL
    }

    /// The types that the specification leaves open: they say again which phase another event has led to.
    #[must_use]
    pub const fn optional() -> &'static [Self] {
        &[Self::WorkflowStatusChanged, Self::TaskStatusChanged]
    }

    /// Those required and those not.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::all().iter().chain(Self::optional()).copied()
    }

    /// The phase that this event tells of, as a status-changed event names it; `None`: it is the same as before.
    #[must_use]
    pub fn status(self) -> Option<&'static str> {
        Some(match self {
            Self::TaskCreated => "pending",
            Self::WorkflowStarted | Self::TaskStarted | Self::WorkflowResumed | Self::TaskResumed => "running",
            Self::WorkflowSuspended | Self::TaskSuspended => "suspended",
            Self::WorkflowCancelled | Self::TaskCancelled => "cancelled",
            Self::WorkflowFaulted | Self::TaskFaulted => "faulted",
            Self::WorkflowCompleted | Self::TaskCompleted => "completed",
            Self::WorkflowCorrelationStarted
            | Self::WorkflowCorrelationCompleted
            | Self::TaskRetried
            | Self::WorkflowStatusChanged
            | Self::TaskStatusChanged => return None,
        })
    }

    /// The status-changed event of the same scope.
    #[must_use]
    pub fn status_changed(self) -> Self {
        match self.scope() {
            Scope::Workflow => Self::WorkflowStatusChanged,
            Scope::Task => Self::TaskStatusChanged,
        }
    }

    fn facts(self) -> &'static Facts {
        match self {
            Self::WorkflowStarted => facts!(Workflow, "workflow", "started", "startedAt"),
            Self::WorkflowSuspended => facts!(Workflow, "workflow", "suspended", "suspendedAt"),
            Self::WorkflowResumed => facts!(Workflow, "workflow", "resumed", "resumedAt"),
            Self::WorkflowCorrelationStarted => facts!(Workflow, "workflow", "correlation-started", "startedAt"),
            Self::WorkflowCorrelationCompleted => facts!(Workflow, "workflow", "correlation-completed", "completedAt"),
            Self::WorkflowCancelled => facts!(Workflow, "workflow", "cancelled", "cancelledAt"),
            Self::WorkflowFaulted => facts!(Workflow, "workflow", "faulted", "faultedAt"),
            Self::WorkflowCompleted => facts!(Workflow, "workflow", "completed", "completedAt"),
            Self::TaskCreated => facts!(Task, "task", "created", "createdAt"),
            Self::TaskStarted => facts!(Task, "task", "started", "startedAt"),
            Self::TaskSuspended => facts!(Task, "task", "suspended", "suspendedAt"),
            Self::TaskResumed => facts!(Task, "task", "resumed", "resumedAt"),
            Self::TaskRetried => facts!(Task, "task", "retried", "retriedAt"),
            Self::TaskCancelled => facts!(Task, "task", "cancelled", "cancelledAt"),
            Self::TaskFaulted => facts!(Task, "task", "faulted", "faultedAt"),
            Self::TaskCompleted => facts!(Task, "task", "completed", "completedAt"),
            Self::WorkflowStatusChanged => facts!(Workflow, "workflow", "status-changed", "updatedAt"),
            Self::TaskStatusChanged => facts!(Task, "task", "status-changed", "updatedAt"),
        }
    }

    /// The CloudEvent's `type`.
    #[must_use]
    pub fn wire_type(self) -> &'static str {
        self.facts().wire_type
    }

    /// The type with this CloudEvent `type`.
    #[must_use]
    pub fn from_wire_type(wire_type: &str) -> Option<Self> {
        Self::every().find(|kind| kind.wire_type() == wire_type)
    }

    /// Whether it is about the instance or one of its tasks.
    #[must_use]
    pub fn scope(self) -> Scope {
        self.facts().scope
    }

    /// What happened: `started`, `correlation-completed` …
    #[must_use]
    pub fn what(self) -> &'static str {
        self.facts().what
    }

    /// The data's field that says when it happened: `startedAt` …
    #[must_use]
    pub fn time_field(self) -> &'static str {
        self.facts().time_field
    }

    /// The schema's `$id`, which is the event's `dataschema`.
    #[must_use]
    pub fn schema_id(self) -> &'static str {
        self.facts().schema_id
    }

    /// The JSON Schema of the event's data.
    #[must_use]
    pub fn schema_text(self) -> &'static str {
        self.facts().schema_text
    }
}
