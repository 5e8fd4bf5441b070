//! Which events: the options of all commands that print several.
//!
//! Not here: where a list or a stream begins (`events_list`, `events`).

use clap::Args;
use reqwest::Method;

use super::args::{ident, pair};
use super::client::Call;
use super::moment;

/// Which events.
#[derive(Args)]
pub struct Choice {
    /// Select events by a field (repeatable): values of one field are alternatives, different
    /// fields must all match. Fields: kind, object, bay, type, user, request_id, outcome, project
    #[arg(long, value_name = "FIELD=VALUE", value_parser = pair)]
    filter: Vec<(String, String)>,
    /// Select events of this bay and of containers in it (repeatable): as --filter bay=
    #[arg(long, value_name = "NAME|UUID", value_parser = ident)]
    bay: Vec<String>,
    /// Start at a time, such as 2015-05-21T20:46:13Z, 2015-05-21 (UTC) or yesterday, or this long
    /// ago: 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "after", value_parser = moment::since)]
    pub since: Option<String>,
}

impl Choice {
    /// Arguments that select events.
    pub fn filters(&self) -> impl Iterator<Item = (&str, &str)> {
        let bays = self.bay.iter().map(|bay| ("bay", &**bay));
        self.filter.iter().map(|(name, value)| (&**name, &**value)).chain(bays)
    }

    /// A request for the selected events.
    pub fn get(&self) -> Call<'_> {
        let call = Call::at(Method::GET, "events");
        self.filters().fold(call, |call, (name, value)| call.query(name, Some(value)))
    }

    /// Whether events of several projects may be among them.
    pub fn is_of_all_projects(&self) -> bool {
        self.filters().any(|filter| filter == ("project", "all"))
    }
}
