//! Which variables an expression may use, by the place where it stands: the specification's table.

use std::sync::Arc;

/// The variables of one place.
#[derive(Debug, Clone)]
pub struct Scope {
    place: &'static str,
    standard: &'static [&'static str],
    locals: Vec<Arc<str>>,
}

/// All names of the table: none of them may be given to a variable of one's own.
pub const STANDARD: [&str; 9] =
    ["context", "input", "output", "secrets", "secret", "task", "workflow", "runtime", "authorization"];

impl Scope {
    const fn of(place: &'static str, standard: &'static [&'static str]) -> Self {
        Self { place, standard, locals: Vec::new() }
    }

    /// The workflow's `input.from`.
    pub const fn workflow_input() -> Self {
        Self::of("the workflow's `input.from`", &["secrets", "workflow", "runtime"])
    }

    /// The workflow's `output.as`.
    pub const fn workflow_output() -> Self {
        Self::of("the workflow's `output.as`", &["context", "secrets", "workflow", "runtime"])
    }

    /// A task's `if`.
    pub const fn task_if() -> Self {
        Self::of("`if`", &["context", "secrets", "task", "workflow", "runtime"])
    }

    /// A task's `input.from`.
    pub const fn task_input() -> Self {
        Self::of("`input.from`", &["context", "secrets", "task", "workflow", "runtime"])
    }

    /// A task's own properties.
    pub const fn task_definition() -> Self {
        Self::of(
            "a task's definition",
            &["context", "input", "secrets", "task", "workflow", "runtime", "authorization"],
        )
    }

    /// The authentication of a task's own properties.
    pub const fn authentication() -> Self {
        Self::of("an authentication", &["context", "input", "secrets", "task", "workflow", "runtime"])
    }

    /// A task's `output.as`.
    pub const fn task_output() -> Self {
        Self::of("`output.as`", &["context", "input", "secrets", "task", "workflow", "runtime", "authorization"])
    }

    /// A task's `export.as`.
    pub const fn task_export() -> Self {
        Self::of(
            "`export.as`",
            &["context", "input", "output", "secrets", "task", "workflow", "runtime", "authorization"],
        )
    }

    /// Where there is no instance yet: filters of `schedule.on`, the business key.
    pub const fn event() -> Self {
        Self::of("a place without an instance", &["workflow", "runtime"])
    }

    /// No variables.
    pub const fn none() -> Self {
        Self::of("this place", &[])
    }

    /// The same with one more variable (`for.each`, `catch.as` …), named without `$`.
    #[must_use]
    pub fn with_local(&self, name: &str) -> Self {
        let mut scope = self.clone();
        if !scope.has(name) {
            scope.locals.push(name.into());
        }
        scope
    }

    /// The variables of another place together with this one's locals: a loop's variables reach all places inside it.
    #[must_use]
    pub fn locals_into(&self, other: Self) -> Self {
        self.locals.iter().fold(other, |scope, name| scope.with_local(name))
    }

    /// Whether the variable is given here.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|given| given == name) || name == "secret" && self.standard.contains(&"secrets")
    }

    /// All that is given here, without `$`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.standard.iter().copied().chain(self.locals.iter().map(|name| &**name))
    }

    /// The place, for messages.
    pub fn place(&self) -> &'static str {
        self.place
    }
}

/// Whether a name can be given to a variable of one's own (`as`, `each`, `at`, `item`). The error says why not.
pub fn check_name(name: &str) -> Result<(), String> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let identifier = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    if STANDARD.contains(&name) {
        Err(format!("`${name}` is a variable of the language, choose another name"))
    } else if identifier && !name.starts_with("__") {
        Ok(())
    } else {
        Err(format!("`{name}` is no name of a variable: letters, digits and `_`, not beginning with a digit"))
    }
}
