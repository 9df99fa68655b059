//! What the engine scenario runs: small definitions with their inputs, and the onboarding example.

use std::collections::BTreeMap;

use flagstop_engine::api::{EffectOutcome, Env, Phase, StatusChanges, Stimulus, Transition, Value};
use flagstop_engine::expr::{Expression, NoVars, Scope};
use flagstop_engine::{Instance, Limits, Plan, Span, apply, value};
use flagstop_schemas::{Entry, Header, InstanceId, Renderer, StatusEvent, StatusKind};
use serde_json::Map;

use super::super::own_definition;
use super::Done;
use crate::exit::Failure;

/// The jq of the loops' `set`.
const STEP: &str = "{n: (.n + 1)}";

const COUNTING: &str = "
document: { dsl: '1.0.3', namespace: bench, name: counting, version: '1.0.0' }
do:
  - count:
      for: { in: .items }
      do:
        - step:
            set: '${ {n: (.n + 1)} }'
";

const CARRYING: &str = "
document: { dsl: '1.0.3', namespace: bench, name: carrying, version: '1.0.0' }
do:
  - count:
      for: { in: .items }
      do:
        - step:
            set:
              n: ${ .n + 1 }
              items: ${ .items }
";

const ONBOARDING: &str = include_str!("../../../../../../examples/onboarding/onboarding.yaml");

const HIRED: &str = r#"[{"specversion":"1.0","id":"bench-1","source":"/flagstop/bench","type":"com.example.employee.hired",
"data":{"employeeId":"e-1","firstName":"Ada","lastName":"Lovelace"}}]"#;

/// A definition and what starts it.
pub(super) struct Subject {
    plan: Plan,
    input: Value,
    secrets: BTreeMap<String, Value>,
    /// Tasks that one run enters for each thing that is counted: 0 = the run itself is what is counted.
    counted: u64,
}

/// The same jq as in the loops, without anything around it.
pub(super) struct BareJq {
    expression: Expression,
    input: Value,
}

impl Subject {
    /// A loop with one `set` in each round.
    pub(super) fn counting(rounds: u64, limits: &Limits) -> Result<Self, Failure> {
        let input = value::object([("items", items(rounds)), ("n", value::int(0))]);
        Self::new(COUNTING, input, rounds, limits)
    }

    /// The same, with data that is handed on from round to round.
    pub(super) fn carrying(rounds: u64, limits: &Limits) -> Result<Self, Failure> {
        let input = value::object([("items", items(rounds)), ("n", value::int(0))]);
        Self::new(CARRYING, input, rounds, limits)
    }

    /// Branches side by side, one `set` in each.
    pub(super) fn forking(branches: u64, limits: &Limits) -> Result<Self, Failure> {
        let mut text = String::from(
            "document: { dsl: '1.0.3', namespace: bench, name: forking, version: '1.0.0' }\ndo:\n  - all:\n      fork:\n        branches:\n",
        );
        for branch in 0..branches {
            text.push_str(&format!("          - b{branch}:\n              set: '${{ {STEP} }}'\n"));
        }
        Self::new(&text, value::object([("n", value::int(0))]), branches, limits)
    }

    /// The onboarding example, up to its wait.
    pub(super) fn onboarding(limits: &Limits) -> Result<Self, Failure> {
        let input = value::parse_json(HIRED.as_bytes(), limits).map_err(|why| own_definition(&why.to_string()))?;
        let mut subject = Self::new(ONBOARDING, input, 0, limits)?;
        let url = value::string("http://127.0.0.1:1");
        let secret = value::object([("url", url), ("token", value::string("t"))]);
        subject.secrets.insert("hr".to_owned(), secret);
        Ok(subject)
    }

    fn new(definition: &str, input: Value, counted: u64, limits: &Limits) -> Result<Self, Failure> {
        let plan = Plan::compile(definition.as_bytes(), limits).map_err(|why| own_definition(&why.to_string()))?;
        Ok(Self { plan, input, secrets: BTreeMap::new(), counted })
    }

    /// One instance, to its end or its wait.
    pub(super) fn run(&self, limits: &Limits) -> Result<Done, Failure> {
        /// So many instances make a round of what is counted by instances.
        const INSTANCES: u64 = 1_000;
        if self.counted > 0 {
            let instance = self.live(limits, &mut |_| {})?;
            if instance.phase() != Phase::Completed {
                return Err(own_definition("it has not completed"));
            }
            return Ok(Done { count: self.counted, more: Map::new() });
        }
        let mut more = Map::new();
        for _ in 0..INSTANCES {
            let (mut snapshot_bytes, mut data_bytes) = (0, 0);
            let instance = self.live(limits, &mut |transition| {
                snapshot_bytes = transition.instance.encode_split(limits.large_value_bytes).bytes.len();
                data_bytes = self.publish(transition).unwrap_or(data_bytes);
            })?;
            if instance.phase() != Phase::Waiting {
                return Err(own_definition("it does not wait"));
            }
            more.insert("snapshotBytes".to_owned(), snapshot_bytes.into());
            more.insert("dataBytes".to_owned(), (value::to_json(&self.input).len() + data_bytes).into());
        }
        Ok(Done { count: INSTANCES, more })
    }

    /// Applies whatever follows from the start, and answers its calls.
    fn live(&self, limits: &Limits, committed: &mut impl FnMut(&Transition)) -> Result<Instance, Failure> {
        let env = Env {
            now_us: 1_800_000_000_000_000,
            seed: 1,
            secrets: &self.secrets,
            limits,
            ticks_us: || 0,
            status_changes: StatusChanges::Left,
        };
        let id = InstanceId::of_trigger("/flagstop/bench", "bench-1", "bench", "bench");
        let mut instance = Instance::new(id, &self.plan);
        let mut next = Some(Stimulus::Start { input: self.input.clone(), cause: None, depth: 0, heard: Vec::new() });
        while let Some(stimulus) = next {
            let transition =
                apply(&self.plan, &instance, stimulus, &env).map_err(|why| own_definition(&why.to_string()))?;
            committed(&transition);
            next = match transition.effects.first() {
                Some(effect) => Some(Stimulus::Effect { slot: effect.slot, outcome: created() }),
                None => transition.more.then_some(Stimulus::Proceed),
            };
            instance = transition.instance;
        }
        Ok(instance)
    }

    /// Renders the status events; the size of the last output among them, which is the data that the instance holds.
    fn publish(&self, transition: &Transition) -> Option<usize> {
        let reference = self.plan.reference();
        let header = Header {
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            version: reference.version.to_string(),
            instance: transition.instance.id(),
            business_key: transition.instance.business_key().map(str::to_owned),
        };
        let mut renderer = Renderer::new(&header);
        let mut output_bytes = None;
        for event in transition.events.iter().filter_map(status) {
            std::hint::black_box(renderer.render(event));
            if event.kind == StatusKind::TaskCompleted {
                output_bytes = event.output.as_ref().map(|output| output.get().len());
            }
        }
        output_bytes
    }
}

impl BareJq {
    pub(super) fn new(limits: &Limits) -> Result<Self, Failure> {
        let expression = Expression::compile(STEP, &Scope::task_definition(), Span::default(), limits);
        let expression = expression.map_err(|why| own_definition(&format!("{why:?}")))?;
        Ok(Self { expression, input: value::object([("n", value::int(0))]) })
    }

    pub(super) fn run(&self, limits: &Limits) -> Result<Done, Failure> {
        const EVALUATIONS: u64 = 100_000;
        for _ in 0..EVALUATIONS {
            let made =
                self.expression.eval(&self.input, &NoVars, limits).map_err(|why| own_definition(&why.to_string()))?;
            std::hint::black_box(made);
        }
        Ok(Done { count: EVALUATIONS, more: Map::new() })
    }
}

fn status(entry: &Entry) -> Option<&StatusEvent> {
    match entry {
        Entry::Status(event) => Some(event),
        Entry::Emitted(_) | Entry::Answer(_) | Entry::Late(_) => None,
    }
}

fn items(count: u64) -> Value {
    value::array((0..count).map(|n| value::int(n as i64)))
}

fn created() -> EffectOutcome {
    EffectOutcome::Http {
        status: 201,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: r#"{"accountId":"a-1"}"#.into(),
        authorization: None,
    }
}
