//! Chooses the node for an object: a pure function of the nodes' projected facts (rule N1).

use serde::{Deserialize, Serialize};

use crate::bus::Refusal;
use crate::events::bay::too_many;
use crate::events::work::{NodeVerdict, Placement};
use crate::ids::ObjectId;

/// What placement knows of a node, from the read models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// The node.
    pub node_id: ObjectId,
    /// Its host name.
    pub host: String,
    /// Whether a backend registered it: nothing can run on a node that is only a record.
    pub registered: bool,
    /// Why it does not answer; `None` if it does.
    pub unavailable: Option<String>,
    /// How many bays it holds.
    pub bays: u64,
}

/// Chooses a node for a bay: one that answers before one that does not, then the one with the
/// fewest bays, then the lowest id. A node that does not answer now may be chosen, because work
/// waits for it and says so.
///
/// # Errors
/// When no node has a backend.
pub fn place(nodes: &[NodeFacts]) -> Result<Placement, Refusal> {
    let chosen = nodes
        .iter()
        .filter(|node| node.registered)
        .min_by_key(|node| (node.unavailable.is_some(), node.bays, node.node_id))
        .ok_or_else(|| Refusal::Conflict {
            reason: format!(
                "No node can run containers: {} known, none with a backend. Start a backend, or \
                 check its log.",
                nodes.len()
            ),
        })?;
    Ok(Placement {
        node_id: chosen.node_id,
        verdicts: nodes.iter().map(|node| verdict(node, chosen)).collect(),
    })
}

/// Container orchestration engines that a bay can have.
const ENGINES: [&str; 1] = ["docker"];

/// Why a bay cannot be, and what can: nothing here is what its baymodel asks for, or it is to have
/// more nodes than there are.
pub fn unserved(node_count: u32, coe: Option<&str>, placement: &Placement) -> Option<String> {
    match coe {
        Some(coe) if !ENGINES.iter().any(|engine| engine.eq_ignore_ascii_case(coe)) => {
            let available = ENGINES.join(", ");
            Some(format!("the coe {coe} of its baymodel is not available; available: {available}"))
        }
        _ => too_many(node_count, placement.nodes()),
    }
}

/// Why a node was chosen or not.
fn verdict(node: &NodeFacts, chosen: &NodeFacts) -> NodeVerdict {
    let reason = if !node.registered {
        "ruled out: no backend registered it".to_owned()
    } else if let Some(words) = &node.unavailable {
        format!("does not answer ({words}); {}", bays(node.bays))
    } else {
        format!("available; {}, the chosen one has {}", bays(node.bays), chosen.bays)
    };
    NodeVerdict {
        node_id: node.node_id,
        host: node.host.clone(),
        eligible: node.registered,
        reason,
    }
}

fn bays(count: u64) -> String {
    if count == 1 { "1 bay".to_owned() } else { format!("{count} bays") }
}

/// A container runs where its bay's network is.
pub fn with_bay(node_id: ObjectId, host: String) -> Placement {
    let reason = "holds the network of the bay".to_owned();
    Placement { node_id, verdicts: vec![NodeVerdict { node_id, host, eligible: true, reason }] }
}
