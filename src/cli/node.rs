//! `node-*`: machines where work executes. Those that run a backend register themselves.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::args::{Target, Targets, Update, fields};
use super::error::CliError;
use super::noun::{ListArgs, Noun, Session, Show};
use crate::ids::Kind;

/// Nodes, with the columns of 2015.
const NODE: Noun = Noun { kind: Kind::Node, columns: &["uuid", "type", "image_id"] };

/// Commands for nodes.
#[derive(Subcommand)]
pub enum NodeCommand {
    /// Print a list of configured nodes
    #[command(name = "node-list")]
    List(ListArgs),
    /// Create a node
    #[command(name = "node-create")]
    Create(NodeCreate),
    /// Show details about the given node
    #[command(name = "node-show")]
    Show(Show),
    /// Update information about the given node
    #[command(name = "node-update")]
    Update(Update),
    /// Delete nodes; refused while they have bays
    #[command(name = "node-delete")]
    Delete(Targets),
    /// Show the history of a node
    #[command(name = "node-history")]
    History(Target),
}

/// The fields of a new node.
#[derive(Args)]
pub struct NodeCreate {
    /// Type of the node: virt or bare
    #[arg(long = "type", value_name = "TYPE")]
    node_type: Option<String>,
    /// Name or UUID of the image of the node
    #[arg(long, value_name = "IMAGE")]
    image_id: Option<String>,
}

/// Runs a command for nodes.
pub async fn run(session: &Session, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::List(args) => NODE.list(session, &args, None).await,
        NodeCommand::Create(args) => {
            let body = fields([
                ("type", args.node_type.as_deref()),
                ("image_id", args.image_id.as_deref()),
            ]);
            NODE.create(session, Value::Object(body)).await
        }
        NodeCommand::Show(args) => NODE.show(session, &args).await,
        NodeCommand::Update(update) => NODE.update(session, &update).await,
        NodeCommand::Delete(targets) => NODE.delete(session, &targets).await,
        NodeCommand::History(target) => NODE.history(session, &target).await,
    }
}
