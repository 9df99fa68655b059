//! Results from outside that wait in a suspended instance. What may hold a secret is never among them.

use super::SnapshotError;
use super::codec::{Reader, Stored, Writer};
use crate::api::{ChildOutcome, EffectOutcome, Value};
use crate::instance::{GoOnAt, Kept};
use crate::problem::Problem;

mod tag {
    pub(super) const HTTP: u8 = 0;
    pub(super) const PROCESS: u8 = 1;
    pub(super) const NOT_AUTHENTICATED: u8 = 2;
    pub(super) const NO_ANSWER: u8 = 3;
    pub(super) const COMPLETED: u8 = 4;
    pub(super) const FAULTED: u8 = 5;
    pub(super) const CANCELLED: u8 = 6;
    pub(super) const NOT_STARTED: u8 = 7;
}

impl Kept {
    /// An effect's result as it may be kept: what the request was authorised with is a secret.
    pub(crate) fn effect(outcome: EffectOutcome) -> Self {
        Self::Effect(match outcome {
            EffectOutcome::Http { status, headers, body, authorization: _ } => {
                EffectOutcome::Http { status, headers, body, authorization: None }
            }
            other => other,
        })
    }
}

impl Stored for Kept {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Effect(EffectOutcome::Http { status, headers, body, authorization: _ }) => {
                to.byte(tag::HTTP);
                u32::from(*status).write(to);
                headers.write(to);
                // As a value, so that a large body is stored as one.
                Value::byte_str(body.clone()).write(to);
            }
            Self::Effect(EffectOutcome::Process { code, stdout, stderr }) => {
                to.byte(tag::PROCESS);
                i64::from(*code).write(to);
                stdout.write(to);
                stderr.write(to);
            }
            Self::Effect(EffectOutcome::NotAuthenticated { reason }) => {
                to.byte(tag::NOT_AUTHENTICATED);
                reason.write(to);
            }
            Self::Effect(EffectOutcome::NoAnswer { reason }) => {
                to.byte(tag::NO_ANSWER);
                reason.write(to);
            }
            Self::Child(ChildOutcome::Completed(output)) => {
                to.byte(tag::COMPLETED);
                output.write(to);
            }
            Self::Child(ChildOutcome::Faulted(problem)) => {
                to.byte(tag::FAULTED);
                problem.to_value().write(to);
            }
            Self::Child(ChildOutcome::Cancelled) => to.byte(tag::CANCELLED),
            Self::Child(ChildOutcome::NotStarted { reason }) => {
                to.byte(tag::NOT_STARTED);
                reason.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(match from.byte()? {
            tag::HTTP => Self::Effect(EffectOutcome::Http {
                status: u16::try_from(u32::read(from)?).map_err(|_| SnapshotError::corrupt("a status is no status"))?,
                headers: Stored::read(from)?,
                body: match Value::read(from)? {
                    Value::BStr(body) => (*body).clone(),
                    _ => return Err(SnapshotError::corrupt("a body is no bytes")),
                },
                authorization: None,
            }),
            tag::PROCESS => Self::Effect(EffectOutcome::Process {
                code: i32::try_from(i64::read(from)?).map_err(|_| SnapshotError::corrupt("a code is no exit code"))?,
                stdout: Stored::read(from)?,
                stderr: Stored::read(from)?,
            }),
            tag::NOT_AUTHENTICATED => Self::Effect(EffectOutcome::NotAuthenticated { reason: Stored::read(from)? }),
            tag::NO_ANSWER => Self::Effect(EffectOutcome::NoAnswer { reason: Stored::read(from)? }),
            tag::COMPLETED => Self::Child(ChildOutcome::Completed(Stored::read(from)?)),
            tag::FAULTED => {
                let problem = Problem::from_value(&Value::read(from)?, "").map_err(SnapshotError::corrupt)?;
                Self::Child(ChildOutcome::Faulted(problem))
            }
            tag::CANCELLED => Self::Child(ChildOutcome::Cancelled),
            tag::NOT_STARTED => Self::Child(ChildOutcome::NotStarted { reason: Stored::read(from)? }),
            _ => return Err(SnapshotError::corrupt("a kept result is of an unknown kind")),
        })
    }
}

impl Stored for GoOnAt {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Nothing => to.byte(0),
            Self::Start => to.byte(1),
            Self::Task(run) => {
                to.byte(2);
                run.write(to);
            }
            Self::End(raw_output) => {
                to.byte(3);
                raw_output.write(to);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(match from.byte()? {
            0 => Self::Nothing,
            1 => Self::Start,
            2 => Self::Task(Stored::read(from)?),
            3 => Self::End(Stored::read(from)?),
            _ => return Err(SnapshotError::corrupt("a retry goes on at an unknown kind of place")),
        })
    }
}
