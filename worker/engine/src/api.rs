//! What goes into the engine and what comes out of it.

mod authentication;

use bytes::Bytes;
use flagstop_schemas::{Entry, Hash16, InstanceId};

pub use authentication::{
    Authentication, Authorization, ClientMethod, SecurityToken, TokenClient, TokenEncoding, TokenEndpoint, TokenRequest,
};

/// The one value type inside the engine: shared, never deep-copied per task.
pub type Value = jaq_json::Val;

/// The phases of an instance; the numbers are what the store keeps and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[repr(i16)]
pub enum Phase {
    /// Made, not started.
    Pending = 0,
    /// An effect is in flight, or pure work is left.
    Running = 1,
    /// Goes on by an event or a timer.
    Waiting = 2,
    /// Held by an operator.
    Suspended = 3,
    /// Ended by an operator or its parent.
    Cancelled = 4,
    /// Ended by an error.
    Faulted = 5,
    /// Ended by itself.
    Completed = 6,
}

/// What can happen to an instance.
#[derive(Debug, Clone)]
pub enum Stimulus {
    /// It begins. Legal only in phase pending.
    Start {
        /// The raw workflow input.
        input: Value,
        /// `id` and `source` of the triggering event, for `causationid` and `causationsource`.
        cause: Option<(String, String)>,
        /// How many workflows stand above it; 0: nobody's child.
        depth: u32,
        /// All events that led to it, by `source` and `id`, where they are more than the triggering one (`schedule.on` with
        /// `all` or `until`): they are part of the input, and it hears none of them again.
        heard: Vec<Hash16>,
    },
    /// An event for one of its bookmarks. The engine looks again whether the filter really takes it.
    Event {
        /// The bookmark's slot.
        slot: i64,
        /// The event.
        event: std::sync::Arc<crate::Event>,
    },
    /// A timer is due.
    Timer {
        /// The timer's slot.
        slot: i64,
    },
    /// An effect has ended.
    Effect {
        /// The effect's slot.
        slot: i64,
        /// How.
        outcome: EffectOutcome,
    },
    /// The awaited child of this slot has ended, or could not be started.
    Child {
        /// The child's slot.
        slot: i64,
        /// How.
        outcome: ChildOutcome,
    },
    /// An operator or the parent ends it.
    Cancel,
    /// An operator holds it: nothing is begun until [`Stimulus::Continue`]; what comes meanwhile is kept.
    Suspend,
    /// An operator lets it go on.
    Continue,
    /// An operator lets a faulted instance go on at the task that faulted.
    Retry,
    /// The last transition ended by its budget or at a checkpoint: go on.
    Proceed,
}

/// Why a stimulus changed nothing. The instance is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The instance has ended.
    #[error("FS-INSTANCE-ENDED: the instance has already ended")]
    Ended,
    /// Nothing waits in this slot any more, or its filter does not take the event.
    #[error("FS-NOT-WAITING: the instance does not wait for this any more")]
    NotWaiting,
    /// The instance has heard this event (`source` + `id`) before.
    #[error("FS-EVENT-HEARD: the instance has already heard this event")]
    Heard,
    /// The stimulus is illegal in this phase.
    #[error("FS-ILLEGAL: {0}")]
    Illegal(&'static str),
}

/// What the outside gives to an `apply`, so that every run is repeatable.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// Now, in microseconds since 1970-01-01 UTC on the database's clock.
    pub now_us: i64,
    /// Seeds jitter.
    pub seed: u64,
    /// The secrets by name.
    pub secrets: &'a std::collections::BTreeMap<String, Value>,
    /// The limits.
    pub limits: &'a crate::Limits,
    /// Microseconds that only ever grow, for checkpoints by time: they decide where a transition ends, and nothing that it
    /// does.
    pub ticks_us: fn() -> i64,
    /// Whether the optional status-changed events are told too.
    pub status_changes: StatusChanges,
}

/// Whether the optional status-changed events are told, which say again what the others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatusChanges {
    /// They are not.
    #[default]
    Left,
    /// They stand in the journal behind the events that led to them.
    Told,
}

/// What an `apply` decided.
#[derive(Debug)]
pub struct Transition {
    /// The instance afterwards.
    pub instance: crate::Instance,
    /// Side effects that are new.
    pub effects: Vec<Effect>,
    /// Slots of effects that are no longer wanted (cancelled, timed out).
    pub dropped_effects: Vec<i64>,
    /// Children that are new: inserted in the same transaction (D10).
    pub children: Vec<ChildStart>,
    /// Awaited children that are no longer wanted: each gets a [`Stimulus::Cancel`].
    pub cancelled_children: Vec<InstanceId>,
    /// Status events and emitted events, in order.
    pub events: Vec<Entry>,
    /// The budget is used up, or a checkpoint was reached: commit, then apply [`Stimulus::Proceed`].
    pub more: bool,
}

/// Something to do outside.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Its number within the instance.
    pub slot: i64,
    /// JSON pointer of the task.
    pub pointer: String,
    /// `Idempotency-Key`: `<instance>:<pointer>:<run>`, the same until an answer came.
    pub idempotency_key: String,
    /// What to do.
    pub request: Request,
}

/// The kinds of side effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// An HTTP request.
    Http(HttpRequest),
    /// A program.
    Process(ProcessRequest),
}

/// A program to run. Never stored: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRequest {
    /// What runs it.
    pub kind: ProcessKind,
    /// The shell's command line, or the script's text.
    pub code: String,
    /// Arguments, in order.
    pub arguments: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Option<String>,
    /// Variables that are added to its environment.
    pub environment: Vec<(String, String)>,
}

/// The kinds of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessKind {
    /// A command line of the shell.
    Shell,
    /// A script in a language, by the specification's name for it.
    Script {
        /// `js`, `python`.
        language: String,
    },
}

/// A child to start.
#[derive(Debug, Clone)]
pub struct ChildStart {
    /// Derived from parent, pointer and run, so that a replay makes the same (D4, D10).
    pub id: InstanceId,
    /// Where its end is awaited; `None`: nobody awaits it.
    pub slot: Option<i64>,
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `None`: the highest enabled version at this moment.
    pub version: Option<semver::Version>,
    /// Its raw input.
    pub input: Value,
    /// How many workflows stand above it.
    pub depth: u32,
}

/// How a child ended.
#[derive(Debug, Clone)]
pub enum ChildOutcome {
    /// With this output.
    Completed(Value),
    /// By this error.
    Faulted(crate::Problem),
    /// It was cancelled by somebody else.
    Cancelled,
    /// It could not be started: no such definition.
    NotStarted {
        /// Why, for the error's detail.
        reason: String,
    },
}

/// An HTTP request, rendered. Never stored: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// Absolute, with its query.
    pub url: String,
    /// Names and values; holds `Idempotency-Key` and `Content-Type` where they belong.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
    /// How it proves who asks; the header `Authorization` is made of this when it is sent.
    pub authentication: Option<Authentication>,
}

/// How an effect ended.
#[derive(Debug, Clone)]
pub enum EffectOutcome {
    /// An HTTP answer, whatever its status.
    Http {
        /// The status code.
        status: u16,
        /// Header names in lower case.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Bytes,
        /// What the request was authorised with, for `$authorization`: used at once and never kept.
        authorization: Option<Authorization>,
    },
    /// A program has ended.
    Process {
        /// Its exit code; of one that a signal ended, 128 and the signal's number.
        code: i32,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
    /// The identity provider refused, or gave no token: the request itself was not made.
    NotAuthenticated {
        /// Why, for the error's detail. Holds no secret.
        reason: String,
    },
    /// No answer came: refused, reset, unresolved, given up, not allowed.
    NoAnswer {
        /// Why, for the error's detail.
        reason: String,
    },
}

/// The projections of an instance into the store's lookup rows: a pure function of the snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projection {
    /// Where it pauses until an event comes.
    pub bookmarks: Vec<Bookmark>,
    /// The moments for which it waits.
    pub timers: Vec<Timer>,
    /// Effects in flight: slot and pointer.
    pub effects: Vec<(i64, String)>,
    /// Awaited children: slot and id.
    pub children: Vec<(i64, InstanceId)>,
}

/// A place where an instance pauses until an event comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bookmark {
    /// Hash of the filter and the correlation values.
    pub key: Hash16,
    /// Its number within the instance: task run and filter.
    pub slot: i64,
    /// Earlier events are not heard; `None`: however old.
    pub since_us: Option<i64>,
}

/// A moment for which an instance waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// When, in microseconds since 1970-01-01 UTC.
    pub due_us: i64,
    /// Its number within the instance: task run and purpose.
    pub slot: i64,
}

/// What an instance waits for, in words for people (`instances show`, `instances why`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitReason {
    /// JSON pointer of the task.
    pub task: String,
    /// `event`, `timer`, `effect` or `child`.
    pub kind: &'static str,
    /// The awaited event type, the URL …
    pub what: String,
    /// Correlation keys and the awaited values, as JSON text.
    pub correlate: Vec<(String, String)>,
    /// Since when.
    pub since_us: i64,
    /// Until when (due time, timeout), if there is an end.
    pub until_us: Option<i64>,
}

/// Where an event differs from what is awaited, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The correlation key, or the event's attribute.
    pub name: String,
    /// What is awaited, as JSON text; `None`: a condition, which does not hold.
    pub awaited: Option<String>,
    /// What the event has, as JSON text; `null` where it has nothing.
    pub found: String,
}

/// The identity of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: semver::Version,
}

impl Phase {
    /// No stimulus changes it any more.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Cancelled | Self::Faulted | Self::Completed)
    }
}

impl TryFrom<i16> for Phase {
    type Error = i16;

    fn try_from(number: i16) -> Result<Self, i16> {
        const PHASES: [Phase; 7] = [
            Phase::Pending,
            Phase::Running,
            Phase::Waiting,
            Phase::Suspended,
            Phase::Cancelled,
            Phase::Faulted,
            Phase::Completed,
        ];
        PHASES.into_iter().find(|phase| *phase as i16 == number).ok_or(number)
    }
}
