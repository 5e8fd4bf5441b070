//! How many objects there are in which status, of all projects: for the metrics, which name no
//! object but bays.

use std::collections::{BTreeMap, HashMap};

use super::bay::BayView;
use super::container::ContainerView;
use super::node::NodeView;
use super::pod::PodView;
use super::query::QueryError;
use super::read_models::ReadModels;
use crate::ids::ObjectId;

/// Objects by status.
pub type ByStatus = BTreeMap<&'static str, u64>;

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Containers by status.
    pub containers: ByStatus,
    /// Pods by status.
    pub pods: ByStatus,
    /// Bays by status.
    pub bays: ByStatus,
    /// Nodes by status.
    pub nodes: ByStatus,
    /// Containers by bay, for the bays that have most of them.
    pub containers_by_bay: Vec<(ObjectId, u64)>,
    /// Containers of the other bays.
    pub containers_of_others: u64,
}

impl ReadModels {
    /// Counts all objects; those of at most `max_bays` bays one by one. Blocks for about a
    /// microsecond per object.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn census(&self, max_bays: usize) -> Result<Census, QueryError> {
        let (mut census, mut by_bay) = (Census::default(), HashMap::<ObjectId, u64>::new());
        self.each(|container: ContainerView| {
            *census.containers.entry(container.status.name()).or_default() += 1;
            if let Some(bay) = container.bay_uuid {
                *by_bay.entry(bay).or_default() += 1;
            }
        })?;
        self.each(|pod: PodView| *census.pods.entry(pod.status.name()).or_default() += 1)?;
        self.each(|bay: BayView| *census.bays.entry(bay.status.name()).or_default() += 1)?;
        self.each(|node: NodeView| *census.nodes.entry(node.status.name()).or_default() += 1)?;
        let mut by_bay: Vec<_> = by_bay.into_iter().collect();
        by_bay.sort_by_key(|(bay, count)| (std::cmp::Reverse(*count), *bay));
        let others = by_bay.split_off(max_bays.min(by_bay.len()));
        census.containers_of_others = others.iter().map(|(_, count)| count).sum();
        census.containers_by_bay = by_bay;
        Ok(census)
    }
}
