//! Runs the cases of a target: within a budget, on a stack as small as a worker's, under a watchdog.
//!
//! A case is bytes. They lie in a file before they are tried, so that also what aborts the process can be tried again.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::random::Random;

/// What is fuzzed.
pub struct Target<G, C> {
    /// Its name, and that of its files.
    pub name: &'static str,
    /// Cases in the usual run.
    pub cases: u64,
    /// Makes an input.
    pub generate: G,
    /// Panics when the input shows a defect.
    pub check: C,
}

/// The usual seed. `FLAGSTOP_TEST_SEED` names another one.
const SEED: u64 = 20_261_121;
/// What the threads of a worker have.
const STACK_BYTES: usize = 2 << 20;
/// Seconds after which a case is said to hang. None takes a tenth of it, however busy the machine.
const HANG_S: u64 = 20;
/// Bytes of an input that are shown; its file has all of it.
const SHOWN_BYTES_MAX: usize = 4_000;

impl<G: Fn(&mut Random) -> Vec<u8> + Sync, C: Fn(&[u8]) + Sync> Target<G, C> {
    /// Runs all cases of the budget.
    pub fn run(&self) {
        if let Some(path) = std::env::var_os("FLAGSTOP_FUZZ_INPUT").map(PathBuf::from) {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(self.name)) {
                let input = std::fs::read(&path).unwrap();
                self.on_small_stack(|| (self.check)(&input));
            }
            return;
        }
        let seconds: Option<u64> = number("FLAGSTOP_FUZZ_SECONDS");
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(SEED, |since| since.as_secs());
        let seed = number("FLAGSTOP_TEST_SEED").unwrap_or_else(|| if seconds.is_some() { now() } else { SEED });
        say(&format!("{}: FLAGSTOP_TEST_SEED={seed}", self.name));

        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let is_over = |case: u64| until.map_or(case >= self.cases, |until| Instant::now() >= until);
        let (begun, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let path = folder().join(format!("{}.input", self.name));
        std::thread::scope(|scope| {
            scope.spawn(|| self.watch(&begun, &done, &path));
            let cases = || {
                let mut case = 0;
                while !is_over(case) {
                    let input = (self.generate)(&mut Random::of(seed, case));
                    std::fs::write(&path, &input).unwrap();
                    begun.fetch_add(1, Ordering::Relaxed);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.check)(&input))) {
                        self.report("fails", seed, case, &input);
                        resume_unwind(panic);
                    }
                    case += 1;
                }
                say(&format!("{}: {case} cases", self.name));
            };
            let result = catch_unwind(AssertUnwindSafe(|| self.on_small_stack(cases)));
            done.store(true, Ordering::Relaxed);
            result.unwrap_or_else(|panic| resume_unwind(panic));
        });
        std::fs::remove_file(&path).unwrap();
    }

    fn on_small_stack(&self, work: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, work).unwrap().join().unwrap_or_else(|panic| resume_unwind(panic));
        });
    }

    /// Ends the process when one case takes too long: nothing else can end it.
    fn watch(&self, begun: &AtomicU64, done: &AtomicBool, path: &Path) {
        let (mut last, mut since) = (0, Instant::now());
        while !done.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            let now = begun.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() >= Duration::from_secs(HANG_S) {
                let input = std::fs::read(path).unwrap_or_default();
                say(&format!("{}: a case hangs: {}\n{}", self.name, path.display(), shown(&input)));
                std::process::abort();
            }
        }
    }

    fn report(&self, what: &str, seed: u64, case: u64, input: &[u8]) {
        let path = folder().join(format!("{}-{seed}-{case}.input", self.name));
        std::fs::write(&path, input).unwrap();
        let again = format!("FLAGSTOP_FUZZ_INPUT={} cargo test -p flagstop-engine --test fuzz", path.display());
        say(&format!("{}: case {case} {what}; again with\n{again}\n{}", self.name, shown(input)));
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

/// Under `target/`, where nobody keeps anything.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn shown(input: &[u8]) -> String {
    String::from_utf8_lossy(&input[..input.len().min(SHOWN_BYTES_MAX)]).into_owned()
}

/// Seen also when the process aborts: what is printed is not.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
