//! Status events: the specification's lifecycle events, as the engine decides them and subscribers see them.

/// The types of status events. The wire type is `io.serverlessworkflow.{workflow,task}.<what>.v1`; the numbers are what
/// the journal keeps and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StatusKind {
    /// `io.serverlessworkflow.workflow.started.v1`
    WorkflowStarted = 1,
    /// `io.serverlessworkflow.workflow.suspended.v1`
    WorkflowSuspended = 2,
    /// `io.serverlessworkflow.workflow.resumed.v1`
    WorkflowResumed = 3,
    /// `io.serverlessworkflow.workflow.correlation-started.v1`
    WorkflowCorrelationStarted = 4,
    /// `io.serverlessworkflow.workflow.correlation-completed.v1`
    WorkflowCorrelationCompleted = 5,
    /// `io.serverlessworkflow.workflow.cancelled.v1`
    WorkflowCancelled = 6,
    /// `io.serverlessworkflow.workflow.faulted.v1`
    WorkflowFaulted = 7,
    /// `io.serverlessworkflow.workflow.completed.v1`
    WorkflowCompleted = 8,
    /// `io.serverlessworkflow.task.created.v1`
    TaskCreated = 9,
    /// `io.serverlessworkflow.task.started.v1`
    TaskStarted = 10,
    /// `io.serverlessworkflow.task.suspended.v1`
    TaskSuspended = 11,
    /// `io.serverlessworkflow.task.resumed.v1`
    TaskResumed = 12,
    /// `io.serverlessworkflow.task.retried.v1`
    TaskRetried = 13,
    /// `io.serverlessworkflow.task.cancelled.v1`
    TaskCancelled = 14,
    /// `io.serverlessworkflow.task.faulted.v1`
    TaskFaulted = 15,
    /// `io.serverlessworkflow.task.completed.v1`
    TaskCompleted = 16,
    /// `io.serverlessworkflow.workflow.status-changed.v1`: optional, and without a number of its own.
    WorkflowStatusChanged = 17,
    /// `io.serverlessworkflow.task.status-changed.v1`: optional, and without a number of its own.
    TaskStatusChanged = 18,
}

/// A JSON text that passes as it is: never parsed again on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(Box<str>);

impl JsonText {
    /// The text that a writer of JSON has made. What is not well-formed breaks the event's schema when it leaves.
    #[must_use]
    pub fn written(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }
}

/// One status event as the engine decides it; what its workflow is stands once in the journal row's [`Header`].
#[derive(Debug, Clone)]
pub struct StatusEvent {
    /// Its type.
    pub kind: StatusKind,
    /// Counts an instance's required status events from 1, without gaps. An optional one has the number of the required one
    /// before it.
    pub sequence: u64,
    /// When it happened: microseconds since 1970-01-01 UTC on the database's clock.
    pub at_us: i64,
    /// JSON pointer of the task; in correlation events it becomes the attribute `task`.
    pub task: Option<String>,
    /// `output` of completed events, JSON text; above the limit `None`, with the attribute `outputbytes`.
    pub output: Option<JsonText>,
    /// `error` of faulted events, a problem details object.
    pub error: Option<JsonText>,
    /// `correlationKeys` of a completed correlation, an object.
    pub correlation_keys: Option<JsonText>,
    /// Further extension attributes: `causationid`, `causationsource`, `outputbytes`, `attempt`, `iteration` … Of a
    /// status-changed event also [`STATUS`], which goes into the data.
    pub attributes: Vec<(&'static str, serde_json::Value)>,
}

/// The name under which a status-changed event's phase stands among its attributes until it is rendered.
pub const STATUS: &str = "status";

/// What all events of an instance share.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Header {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// The instance's id.
    pub instance: crate::InstanceId,
    /// The author's key of the business object.
    pub business_key: Option<String>,
}

/// What a transition put into the journal, in order.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A status event.
    Status(StatusEvent),
    /// The author's own event (`emit`): complete, its id fixed. Boxed: much larger than the other kind.
    Emitted(Box<crate::CloudEvent>),
    /// The answer to a command, complete: see [`crate::Asked`].
    Answer(Box<crate::CloudEvent>),
    /// What came too late: for the history alone, never published (PROTOCOL D9).
    Late(LateResult),
}

/// The result of a side effect that came when nobody waited for it any more. It changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateResult {
    /// JSON pointer of the task that had asked for it.
    pub task: String,
    /// What it was, in a few words and without anything that the answer holds.
    pub result: String,
}
