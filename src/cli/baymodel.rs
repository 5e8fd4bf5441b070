//! `baymodel-*`: templates of bays.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::{Target, Targets, Update, fields};
use super::error::CliError;
use super::noun::{ListArgs, Noun, Session, Show};
use crate::ids::Kind;

/// Baymodels, with the columns of 2015.
pub const BAYMODEL: Noun = Noun { kind: Kind::Baymodel, columns: &["uuid", "name"] };

/// Commands for baymodels.
#[derive(Subcommand)]
pub enum BaymodelCommand {
    /// Print a list of baymodels
    #[command(name = "baymodel-list")]
    List(ListArgs),
    /// Create a baymodel
    #[command(name = "baymodel-create")]
    Create(BaymodelCreate),
    /// Show details about the given baymodel
    #[command(name = "baymodel-show")]
    Show(Show),
    /// Update information about the given baymodel
    #[command(name = "baymodel-update")]
    Update(Update),
    /// Delete baymodels; refused while bays use them
    #[command(name = "baymodel-delete")]
    Delete(Targets),
    /// Show the history of a baymodel
    #[command(name = "baymodel-history")]
    History(Target),
}

/// The fields of a new baymodel.
#[derive(Args)]
pub struct BaymodelCreate {
    /// Name of the baymodel
    #[arg(long)]
    name: Option<String>,
    /// Name or UUID of the image of the machines
    #[arg(long, value_name = "IMAGE")]
    image_id: String,
    /// Name or UUID of the SSH key pair of the machines
    #[arg(long, value_name = "KEYPAIR")]
    keypair_id: Option<String>,
    /// External network
    #[arg(long, value_name = "NETWORK")]
    external_network_id: Option<String>,
    /// Container orchestration engine: docker, kubernetes, swarm
    #[arg(long)]
    coe: String,
    /// Fixed network of the machines
    #[arg(long, value_name = "NETWORK")]
    fixed_network: Option<String>,
    /// SSH public key that may log in
    #[arg(long, value_name = "KEY")]
    ssh_authorized_key: Option<String>,
    /// Name server of the machines
    #[arg(long, value_name = "IPv4", default_value = "8.8.8.8")]
    dns_nameserver: String,
    /// Flavor of the machines
    #[arg(long, value_name = "FLAVOR", default_value = "m1.medium")]
    flavor_id: String,
    /// Flavor of the master
    #[arg(long, value_name = "FLAVOR")]
    master_flavor_id: Option<String>,
    /// Size of the Docker volume, in GB
    #[arg(long, value_name = "GB")]
    docker_volume_size: Option<String>,
}

impl BaymodelCreate {
    /// The body of the request, with every key that the client of 2015 sends.
    fn body(&self) -> Value {
        Value::Object(fields([
            ("name", self.name.as_deref()),
            ("image_id", Some(&self.image_id)),
            ("keypair_id", self.keypair_id.as_deref()),
            ("external_network_id", self.external_network_id.as_deref()),
            ("coe", Some(&self.coe)),
            ("fixed_network", self.fixed_network.as_deref()),
            ("ssh_authorized_key", self.ssh_authorized_key.as_deref()),
            ("dns_nameserver", Some(&self.dns_nameserver)),
            ("flavor_id", Some(&self.flavor_id)),
            ("master_flavor_id", self.master_flavor_id.as_deref()),
            ("docker_volume_size", self.docker_volume_size.as_deref()),
        ]))
    }
}

/// Runs a command for baymodels.
pub async fn run(session: &Session, command: BaymodelCommand) -> Result<(), CliError> {
    match command {
        BaymodelCommand::List(args) => BAYMODEL.list(session, &args, None).await,
        BaymodelCommand::Create(args) => BAYMODEL.create(session, args.body()).await,
        BaymodelCommand::Show(args) => BAYMODEL.show(session, &args).await,
        BaymodelCommand::Update(update) => BAYMODEL.update(session, &update).await,
        BaymodelCommand::Delete(targets) => BAYMODEL.delete(session, &targets).await,
        BaymodelCommand::History(target) => BAYMODEL.history(session, &target).await,
    }
}
