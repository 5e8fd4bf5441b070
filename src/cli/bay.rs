//! `bay-*`: groups of containers with a network of their own.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{Target, Targets, Update, fields, ident};
use super::baymodel;
use super::error::CliError;
use super::noun::{ListArgs, Noun, Session, Show};
use crate::ids::Kind;

/// Bays, with the columns of 2015.
pub const BAY: Noun = Noun { kind: Kind::Bay, columns: &["uuid", "name", "node_count", "status"] };

/// Commands for bays.
#[derive(Subcommand)]
pub enum BayCommand {
    /// Print a list of available bays
    #[command(name = "bay-list")]
    List(ListArgs),
    /// Create a bay
    #[command(name = "bay-create")]
    Create(BayCreate),
    /// Show details about the given bay
    #[command(name = "bay-show")]
    Show(Show),
    /// Update information about the given bay
    #[command(name = "bay-update")]
    Update(Update),
    /// Delete bays and the containers in them
    #[command(name = "bay-delete")]
    Delete(Targets),
    /// Show the history of a bay
    #[command(name = "bay-history")]
    History(Target),
}

/// The fields of a new bay.
#[derive(Args)]
pub struct BayCreate {
    /// Name of the bay
    #[arg(long)]
    name: Option<String>,
    /// Name or UUID of the baymodel [default: the built-in baymodel]
    #[arg(long, alias = "baymodel-id", value_name = "NAME|UUID")]
    #[arg(value_parser = ident)]
    baymodel: Option<String>,
    /// Number of nodes
    #[arg(long, value_name = "N")]
    node_count: Option<String>,
    /// Discovery URL of a swarm
    #[arg(long, value_name = "URL")]
    discovery_url: Option<String>,
    /// Minutes until the creation fails; 0: no limit
    #[arg(long, value_name = "MINUTES")]
    timeout: Option<String>,
    /// Type of the bay, as in 2014
    #[arg(long = "type", value_name = "TYPE", hide = true)]
    bay_type: Option<String>,
    /// Image of the bay's machines, as in 2014
    #[arg(long, value_name = "IMAGE", hide = true)]
    image_id: Option<String>,
}

impl BayCreate {
    /// The body of the request. Numbers stay text, as the old clients send them: the server says
    /// what is wrong with them. What was not given of 2014 and the baymodel is left out.
    fn body(&self, baymodel_uuid: Option<String>) -> Value {
        let mut body = fields([
            ("name", self.name.as_deref()),
            ("node_count", self.node_count.as_deref()),
            ("discovery_url", self.discovery_url.as_deref()),
            ("bay_create_timeout", self.timeout.as_deref()),
        ]);
        let optional = [
            ("baymodel_id", baymodel_uuid.as_ref()),
            ("type", self.bay_type.as_ref()),
            ("image_id", self.image_id.as_ref()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(body)
    }
}

/// Runs a command for bays.
pub async fn run(session: &Session, command: BayCommand) -> Result<(), CliError> {
    match command {
        BayCommand::List(args) => BAY.list(session, &args, None).await,
        BayCommand::Create(args) => {
            let baymodel_uuid = match &args.baymodel {
                Some(name) => Some(baymodel::BAYMODEL.uuid(session, name).await?),
                None => None,
            };
            BAY.create(session, args.body(baymodel_uuid)).await
        }
        BayCommand::Show(args) => BAY.show(session, &args).await,
        BayCommand::Update(update) => BAY.update(session, &update).await,
        BayCommand::Delete(targets) => BAY.delete(session, &targets).await,
        BayCommand::History(target) => BAY.history(session, &target).await,
    }
}
