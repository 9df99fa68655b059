//! Holds what is expected against what was found.

use flagstop_engine::api::Value;
use flagstop_engine::problem::Problem;
use flagstop_engine::{Limits, duration, value};

use super::Failure;
use super::difference::{Difference, Extent, differences, is_subset};
use super::events;
use super::model::{Expect, Instances};
use super::record::{Fate, Found};

/// Every expectation that does not hold.
pub(super) fn judge(expect: &Expect, found: &Found, limits: &Limits) -> Vec<Failure> {
    let mut judge = Judge { found, failures: Vec::new() };
    if let Some(status) = &expect.status {
        judge.status(status);
    }
    if let Some(error) = &expect.error {
        judge.error(error);
    }
    if let Some(output) = &expect.output {
        judge.output(output);
    }
    if let Some(context) = &expect.context {
        judge.of_instance("context", context, |fate| Some(fate.context.clone()));
    }
    judge.wheres(expect, limits);
    if let Some(tasks) = &expect.tasks {
        let list = |tasks: &[String]| value::array(tasks.iter().map(|pointer| value::string(pointer.as_str())));
        judge.whole("tasks", &list(tasks), &list(&found.record.tasks));
    }
    if let Some(lifecycle) = &expect.lifecycle {
        judge.lifecycle(lifecycle);
    }
    if let Some(emitted) = &expect.emitted {
        judge.emitted(emitted);
    }
    judge.requests(expect);
    if let Some(elapsed_us) = expect.elapsed_us {
        judge.elapsed(elapsed_us);
    }
    if let Some(instances) = &expect.instances {
        judge.instances(instances);
    }
    judge.failures
}

struct Judge<'a> {
    found: &'a Found,
    failures: Vec<Failure>,
}

impl Judge<'_> {
    fn fail(
        &mut self,
        expectation: &'static str,
        message: impl Into<String>,
        expected: Option<Value>,
        actual: Option<Value>,
    ) {
        let failure = Failure { expected, actual, ..Failure::new(expectation, message) };
        self.failures.push(failure);
    }

    fn differ(&mut self, expectation: &'static str, differences: Vec<Difference>, expected: &Value, actual: &Value) {
        let message = match differences.first() {
            Some(first) if !first.path.is_empty() => format!("`{expectation}` differs at {}", first.path),
            _ => format!("`{expectation}` differs"),
        };
        self.fail(expectation, message, Some(expected.clone()), Some(actual.clone()));
        if let Some(failure) = self.failures.last_mut() {
            failure.differences = differences;
        }
    }

    fn whole(&mut self, expectation: &'static str, expected: &Value, actual: &Value) {
        let found = differences(expected, actual, Extent::Whole);
        if !found.is_empty() {
            self.differ(expectation, found, expected, actual);
        }
    }

    /// The judged instance, or the failure that there is none.
    fn judged(&mut self, expectation: &'static str) -> Option<&Fate> {
        let judged = self.found.judged();
        if judged.is_none() {
            self.fail(expectation, "no instance was started", None, None);
        }
        judged
    }

    fn status(&mut self, wanted: &str) {
        let Some(status) = self.judged("status").map(|fate| fate.status) else { return };
        if status == wanted {
            return;
        }
        let mut message = format!("the instance is {status}, not {wanted}");
        if let Some(error) = self.found.judged().and_then(|fate| fate.error.as_ref()) {
            message.push_str(&format!(": {}", one_line(error)));
        }
        self.fail("status", message, Some(value::string(wanted)), Some(value::string(status)));
    }

    fn of_instance(&mut self, expectation: &'static str, expected: &Value, field: fn(&Fate) -> Option<Value>) {
        let Some(actual) = self.judged(expectation).map(field) else { return };
        match actual {
            Some(actual) => self.whole(expectation, expected, &actual),
            None => {
                let status = self.found.judged().map_or("", |fate| fate.status);
                self.fail(
                    expectation,
                    format!("there is no {expectation}: the instance is {status}"),
                    Some(expected.clone()),
                    None,
                );
            }
        }
    }

    fn output(&mut self, expected: &Value) {
        self.of_instance("output", expected, |fate| fate.output.clone());
    }

    fn error(&mut self, expected: &Value) {
        let Some(actual) = self.judged("error").map(|fate| fate.error.clone()) else { return };
        let Some(actual) = actual else { return self.of_instance("error", expected, |fate| fate.error.clone()) };
        let found = differences(expected, &actual, Extent::Subset);
        if !found.is_empty() {
            self.differ("error", found, expected, &actual);
        }
    }

    fn wheres(&mut self, expect: &Expect, limits: &Limits) {
        let output = self.found.judged().and_then(|fate| fate.output.clone()).unwrap_or(Value::Null);
        let mut result = None;
        for condition in &expect.wheres {
            if condition.uses("result") && result.is_none() {
                result = Some(self.found.to_value());
            }
            let vars = |_: &str| -> Result<Value, Problem> { Ok(result.clone().unwrap_or(Value::Null)) };
            let message = match condition.test(&output, &vars, limits) {
                Ok(true) => continue,
                Ok(false) => format!("`{}` is not true", condition.text().trim()),
                Err(why) => format!("`{}` fails: {why}", condition.text().trim()),
            };
            self.fail("where", message, None, Some(output.clone()));
        }
    }

    fn lifecycle(&mut self, wanted: &[Value]) {
        let events: Vec<Value> = self.found.record.lifecycle.iter().map(events::to_value).collect();
        let mut from = 0;
        for (number, pattern) in wanted.iter().enumerate() {
            match events[from..].iter().position(|event| is_subset(pattern, event)) {
                Some(at) => from += at + 1,
                None => {
                    let after = if number > 0 { format!(" after entry {number}") } else { String::new() };
                    let message = format!("entry {} of `lifecycle` did not happen{after}", number + 1);
                    let same_type = |event: &&Value| value::get(event, "type") == value::get(pattern, "type");
                    let nearest = events[from..].iter().find(same_type).cloned();
                    let places = nearest.as_ref().map(|near| differences(pattern, near, Extent::Subset));
                    self.fail("lifecycle", message, Some(pattern.clone()), nearest);
                    if let Some(failure) = self.failures.last_mut() {
                        failure.differences = places.unwrap_or_default();
                    }
                    return;
                }
            }
        }
    }

    fn emitted(&mut self, wanted: &[Value]) {
        let events: Vec<Value> = self.found.record.emitted.iter().map(events::to_value).collect();
        let fits = |pattern: &Value, event: &Value| event_differences(pattern, event);
        self.list("emitted", wanted, &events, fits);
    }

    fn requests(&mut self, expect: &Expect) {
        let Some(wanted) = &expect.requests else { return };
        let found: Vec<Value> = self.found.requests.iter().map(super::matching::Sent::to_value).collect();
        let written: Vec<Value> = wanted.iter().map(|pattern| pattern.written.clone()).collect();
        let mut at = 0;
        self.list("requests", &written, &found, |pattern, actual| {
            let fits = wanted[at].fits(&self.found.requests[at]);
            at += 1;
            if fits { Vec::new() } else { request_differences(pattern, actual) }
        });
    }

    /// As many as expected, and each one fits.
    fn list(
        &mut self,
        expectation: &'static str,
        wanted: &[Value],
        found: &[Value],
        mut compare: impl FnMut(&Value, &Value) -> Vec<Difference>,
    ) {
        let mut places = Vec::new();
        for (number, (pattern, actual)) in wanted.iter().zip(found).enumerate() {
            let at = |place: Difference| Difference { path: format!("/{number}{}", place.path), ..place };
            places.extend(compare(pattern, actual).into_iter().map(at));
        }
        if wanted.len() == found.len() && places.is_empty() {
            return;
        }
        let message = match wanted.len() == found.len() {
            true => format!("`{expectation}` differs at {}", places[0].path),
            false => format!("`{expectation}` has {} entries, not {}", found.len(), wanted.len()),
        };
        for number in wanted.len().min(found.len())..wanted.len().max(found.len()) {
            let (expected, actual) = (wanted.get(number).cloned(), found.get(number).cloned());
            places.push(Difference { path: format!("/{number}"), expected, actual });
        }
        let whole = |values: &[Value]| Some(value::array(values.iter().cloned()));
        self.fail(expectation, message, whole(wanted), whole(found));
        if let Some(failure) = self.failures.last_mut() {
            failure.differences = places;
        }
    }

    /// Of a workflow that was deployed, not started, the time may be told from the deployment or from the instance's start.
    fn elapsed(&mut self, wanted_us: i64) {
        if self.judged("elapsed").is_none() {
            return;
        }
        let shown = |us: i64| value::string(duration::to_iso(us));
        match self.found.elapsed_us {
            None => {
                let status = self.found.judged().map_or("", |fate| fate.status);
                self.fail(
                    "elapsed",
                    format!("the instance has not ended: it is {status}"),
                    Some(shown(wanted_us)),
                    None,
                );
            }
            Some(us) if us == wanted_us || self.found.since_deployed_us == Some(wanted_us) => {}
            Some(us) => {
                let message = format!("it took {}, not {}", duration::to_iso(us), duration::to_iso(wanted_us));
                self.fail("elapsed", message, Some(shown(wanted_us)), Some(shown(us)));
            }
        }
    }

    fn instances(&mut self, wanted: &Instances) {
        let found: Vec<Value> = self.found.instances.iter().map(Fate::to_value).collect();
        match wanted {
            Instances::Count(count) if *count == found.len() as u64 => {}
            Instances::Count(count) => {
                let number = |count: u64| Some(value::int(count.try_into().unwrap_or(i64::MAX)));
                let message = format!("there are {} instances, not {count}", found.len());
                self.fail("instances", message, number(*count), number(found.len() as u64));
            }
            Instances::List(wanted) => self.list("instances", wanted, &found, named),
        }
    }
}

/// The named keys, each compared whole.
fn named(pattern: &Value, actual: &Value) -> Vec<Difference> {
    let absent = Value::Null;
    value::entries(pattern)
        .flat_map(|(key, wanted)| {
            let places = differences(wanted, value::get(actual, key).unwrap_or(&absent), Extent::Whole);
            places.into_iter().map(move |place| Difference { path: format!("/{key}{}", place.path), ..place })
        })
        .collect()
}

/// The named attributes, and `data` whole.
fn event_differences(pattern: &Value, event: &Value) -> Vec<Difference> {
    value::entries(pattern)
        .flat_map(|(key, wanted)| {
            let places = match value::get(event, key) {
                Some(actual) => differences(wanted, actual, Extent::Whole),
                None if value::is_null(wanted) => Vec::new(),
                None => vec![Difference { path: String::new(), expected: Some(wanted.clone()), actual: None }],
            };
            places.into_iter().map(move |place| Difference { path: format!("/{key}{}", place.path), ..place })
        })
        .collect()
}

/// Where a request that does not fit differs, or, if only spelling differs, the whole of it.
fn request_differences(pattern: &Value, actual: &Value) -> Vec<Difference> {
    let mut places = Vec::new();
    for (key, wanted) in value::entries(pattern) {
        let Some(found) = value::get(actual, key) else { continue };
        let is_method = key == "method";
        let same_word = |a: &Value, b: &Value| match (value::as_str(a), value::as_str(b)) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        };
        if is_method && same_word(wanted, found) {
            continue;
        }
        let extent = if key == "body" { Extent::Whole } else { Extent::Subset };
        let below = differences(wanted, found, extent).into_iter();
        places.extend(below.map(|place| Difference { path: format!("/{key}{}", place.path), ..place }));
    }
    if places.is_empty() {
        places.push(Difference { path: String::new(), expected: Some(pattern.clone()), actual: Some(actual.clone()) });
    }
    places
}

fn one_line(error: &Value) -> String {
    let field = |key: &str| {
        value::get(error, key).map(|found| value::as_str(found).map_or_else(|| value::to_json(found), str::to_owned))
    };
    let parts = ["status", "title", "detail", "instance"].map(field);
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
