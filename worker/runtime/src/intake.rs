//! From the bus to the lanes: takes deliveries, and reads what they say.

use std::sync::Arc;

use flagstop_bus::port::{Commands, Delivery};
use flagstop_engine::Event;
use flagstop_schemas::{Asked, Hash16, InstanceId, LateResult, message_key};
use flagstop_store::port::Store;
use flagstop_store::rows::{DeadLetter, EffectLease, Meeting, ScheduleRow};

use crate::catalogue::Deployed;
use crate::commands::{self, Command};
use crate::letters::letter;
use crate::options::Options;
use crate::timers::InHand;

/// Status events are heard by no listen, or a workflow could wake itself for ever.
const STATUS: &str = "io.serverlessworkflow.";

/// Why a command that anybody may send is none.
const FORBIDDEN: (&str, &str) = (
    "FS-COMMAND-FORBIDDEN",
    "commands are refused here (bus.commands = refuse); send them to the queue or topic of their own (bus.names.commands), or use the command line",
);

/// What a lane works on: one message, or one poke to one instance.
#[derive(Debug)]
pub(crate) enum Item {
    /// From the bus; acknowledged when it is done.
    Message(Message),
    /// From within.
    Poke(InstanceId, Poke),
}

/// A delivery and what it says.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) delivery: Delivery,
    pub(crate) says: Says,
}

/// What a delivery says.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// An event for triggers and listens.
    Event { key: Hash16, event: Arc<Event> },
    /// A command.
    Command { key: Hash16, asked: Arc<Asked>, command: Command },
    /// Nothing that can be carried out.
    Junk(Box<Junk>),
    /// A status event, or an answer to a command, that came back in.
    Status,
}

/// A message that is no use to anybody.
#[derive(Debug, Clone)]
pub(crate) struct Junk {
    pub(crate) letter: DeadLetter,
    /// If it was meant as a command: its key, and who is to be told.
    pub(crate) command: Option<(Hash16, Arc<Asked>)>,
    /// What it said, if it is only the store that refused it: that may pass.
    pub(crate) said: Option<Says>,
}

/// What reaches an instance from within the worker.
#[derive(Debug)]
pub(crate) enum Poke {
    /// Its mail waits, and was written by this worker just now.
    Drain,
    /// Its mail waits since this time: whoever wrote it left it behind.
    LeftBehind(i64),
    /// A timer is due.
    Timer(InHand),
    /// A side effect has ended.
    Effect {
        lease: EffectLease,
        /// `None`: it was not begun here.
        begun: Option<crate::effects::Begun>,
        /// Whose it is, for the history if it comes too late; `None`: it may have been applied already, by a commit whose
        /// answer was lost.
        task: Option<String>,
        outcome: flagstop_engine::api::EffectOutcome,
    },
    /// The result of a side effect came too late (PROTOCOL D9).
    Late(LateResult),
    /// A parked event and a bookmark have met.
    Meeting(Meeting),
    /// A schedule is due; the instance is the one that it starts.
    Schedule(Box<DueSchedule>),
}

/// A schedule that is due.
#[derive(Debug)]
pub(crate) struct DueSchedule {
    /// As it was read.
    pub(crate) row: ScheduleRow,
    /// Which definition's, and which of its timed schedules.
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) timed: usize,
    /// The due time that gives the run its identity.
    pub(crate) due_us: i64,
}

impl Says {
    /// The inbox key, where there is one.
    pub(crate) fn key(&self) -> Option<Hash16> {
        match self {
            Self::Event { key, .. } | Self::Command { key, .. } => Some(*key),
            Self::Junk(junk) => junk.command.as_ref().map(|(key, _)| *key),
            Self::Status => None,
        }
    }
}

/// Reads a delivery. Never fails: what can't be read becomes a dead letter.
pub(crate) fn read(delivery: &Delivery, options: &Options) -> Says {
    crate::crash::if_it_holds(&delivery.message.body);
    let junk = |code: &str, reason: String| {
        Says::Junk(Box::new(Junk { letter: letter(delivery, code, &reason), command: None, said: None }))
    };
    let event = match flagstop_bus::decode(&delivery.message, &options.codec) {
        Ok(event) => event,
        Err(why) => return junk(why.code(), why.to_string()),
    };
    let key = message_key(&event.source, &event.id);
    if event.ty.starts_with(STATUS) || commands::is_answer(&event.ty) {
        return Says::Status;
    }
    if commands::is_command(&event.ty) {
        let asked = Arc::new(Asked::of(&event));
        if delivery.commands == Commands::Refuse {
            let (code, why) = FORBIDDEN;
            let letter = letter(delivery, code, why);
            return Says::Junk(Box::new(Junk { letter, command: Some((key, asked)), said: None }));
        }
        return match commands::read(event, &options.codec, &options.engine) {
            Ok(command) => Says::Command { key, asked, command },
            Err((code, why)) => {
                let command = Some((key, asked));
                Says::Junk(Box::new(Junk { letter: letter(delivery, code, &why), command, said: None }))
            }
        };
    }
    match Event::parse(event, &options.engine) {
        Ok(event) => Says::Event { key, event: Arc::new(event) },
        Err(why) => junk("FS-EVENT-DATA", why.to_string()),
    }
}

/// Keeps a worker's reference to what it needs to read messages. Used by the lanes.
pub(crate) fn message(delivery: Delivery, options: &Options) -> Item {
    let says = read(&delivery, options);
    Item::Message(Message { delivery, says })
}

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn flagstop_bus::port::Bus>,
    pub(crate) options: Options,
    pub(crate) secrets: crate::secrets::LiveSecrets,
    pub(crate) catalogues: crate::catalogue::Catalogues,
    pub(crate) counters: crate::counters::Counters,
    /// Which status events leave.
    pub(crate) published: crate::status::Published,
    pub(crate) worker: flagstop_store::rows::WorkerId,
    /// Wakes the relay after a commit of our own.
    pub(crate) journal_grew: tokio::sync::Notify,
    /// Unpublished events are older than the watermark: no new messages (PROTOCOL D13).
    pub(crate) behind: std::sync::atomic::AtomicBool,
    /// When the oldest event was committed that this worker is publishing; 0: nothing waits.
    pub(crate) oldest_unpublished_us: std::sync::atomic::AtomicI64,
    /// Something was deployed.
    pub(crate) deployment: tokio::sync::Notify,
    /// Instances whose events the broker does not take for now.
    pub(crate) streams_held: std::sync::atomic::AtomicU64,
    /// What holds them up, for people; `None`: nothing.
    pub(crate) held_up: std::sync::Mutex<Option<String>>,
    /// The catalogue's version in the store, as of the last sign of life.
    pub(crate) deployed: std::sync::atomic::AtomicI64,
    /// How far the database's clock is ahead of this machine's, in microseconds.
    pub(crate) clock_ahead_us: std::sync::atomic::AtomicI64,
    /// What is known of workers that died.
    pub(crate) blame: crate::blame::Blame,
    /// Instances that run ahead of what is stored of them.
    pub(crate) ahead: crate::ahead::Claims,
    /// Why the last commit failed, while none has succeeded since.
    pub(crate) commit_fault: std::sync::Mutex<Option<String>>,
    /// The lanes' entrances.
    pub(crate) pokes: crate::pokes::Pokes,
    /// What instances refused a moment ago.
    pub(crate) refused: crate::refused::Refused,
    /// The shards that this worker holds now.
    pub(crate) shards: tokio::sync::watch::Sender<Vec<i16>>,
}

impl Shared {
    /// Notes how a commit went; a worker whose commits fail is not ready.
    pub(crate) fn note_commit(&self, fault: Option<String>) {
        *self.commit_fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fault;
    }

    /// About what the database's clock says now. For lags and logs only: decisions take the time that was loaded.
    pub(crate) fn about_now_us(&self) -> i64 {
        local_us() + self.clock_ahead_us.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Microseconds since this process first asked: they never go back.
pub(crate) fn ticks_us() -> i64 {
    static FIRST: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    i64::try_from(FIRST.get_or_init(std::time::Instant::now).elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// This machine's clock, in microseconds since 1970-01-01 UTC.
pub(crate) fn local_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
