//! Which instances are meant, by what is known of them: for lists, and for orders to many.

use clap::Args;
use flagstop_store::port::InstanceFilter;

use super::read::{Definitions, PHASES};
use crate::exit::{Exit, Failure};
use crate::time::{length, now_us};

/// The filters; together they mean those that all of them fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Filter {
    /// Only instances in these phases, separated by commas: pending, running, waiting, suspended, cancelled, faulted,
    /// completed
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<String>,
    /// Only instances of this definition: `namespace/name`, all versions, or `namespace/name@version`
    #[arg(long, value_name = "NAMESPACE/NAME[@VERSION]")]
    definition: Option<String>,
    /// Only instances with this business key
    #[arg(long, value_name = "KEY")]
    business_key: Option<String>,
    /// Only instances that were created longer ago than this: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = length)]
    older_than: Option<i64>,
    /// Only instances that have not moved for this long: 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = length)]
    idle_for: Option<i64>,
    /// Only instances whose error has this text in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only instances that were set aside because they ended their workers
    #[arg(long)]
    aside: bool,
}

impl Filter {
    /// The store's form of it, without a limit.
    pub fn of_store(&self, definitions: &Definitions) -> Result<InstanceFilter, Failure> {
        let before = |length_us: Option<i64>| length_us.map(|length_us| now_us() - length_us);
        Ok(InstanceFilter {
            statuses: self.status.iter().map(|name| phase(name)).collect::<Result<_, _>>()?,
            definitions: self.definition.as_deref().map_or(Ok(Vec::new()), |text| definitions.numbers(text))?,
            business_key: self.business_key.clone(),
            error: self.error.clone(),
            created_before_us: before(self.older_than),
            updated_before_us: before(self.idle_for),
            aside: self.aside,
            limit: 0,
            after: None,
        })
    }
}

fn phase(name: &str) -> Result<i16, Failure> {
    let found = PHASES.iter().find(|(_, n)| n.eq_ignore_ascii_case(name));
    found.map(|(phase, _)| *phase as i16).ok_or_else(|| {
        let known = PHASES.map(|(_, name)| name).join(", ");
        Failure::new(Exit::Invalid, "FS-STATUS", format!("there is no status `{name}`"), format!("one of: {known}"))
    })
}
