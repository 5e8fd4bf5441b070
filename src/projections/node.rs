//! What queries know of nodes.

use serde::{Deserialize, Serialize};

use super::field_table::{FieldDef, OneStatus, Rule, list_of};
use super::{View, ViewHead};
use crate::events::EventRef;
use crate::events::node::{NodeCreatedV1, NodeEvent, Status};
use crate::events::status::Status as _;
use crate::field;
use crate::ids::{ObjectId, Timestamp};

/// A node as it is shown. Where its engine listens is in no view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// What every view has.
    pub head: ViewHead,
    /// `docker` for a machine with an engine that a backend registered.
    pub node_type: Option<String>,
    /// Image of the machine.
    pub image_id: Option<String>,
    /// Bare-metal node of OpenStack Ironic.
    pub ironic_node_id: Option<String>,
    /// Host name, where a backend registered it.
    pub host: Option<String>,
    /// `available`, `unavailable`, or `unknown` where no backend registered it.
    pub status: Status,
    /// Why, in the backend's words.
    pub status_reason: Option<String>,
    /// Since when.
    pub status_since: Option<Timestamp>,
    /// The engine and its version.
    pub engine: Option<String>,
    /// Number of CPUs.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Containers that its engine has and no object is the record of.
    pub unknown_containers: Vec<UnknownContainer>,
    /// Networks that its engine has for bays that are not recorded.
    pub unknown_networks: Vec<UnknownNetwork>,
}

/// A container that no object is the record of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownContainer {
    /// The engine's id.
    pub engine_id: String,
    /// The engine's name.
    pub engine_name: String,
    /// The object that its labels name.
    pub container_id: ObjectId,
    /// How it was when it was found.
    pub state: String,
    /// When it was found.
    pub since: Timestamp,
}

/// A network of a bay that is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownNetwork {
    /// The engine's id.
    pub engine_id: String,
    /// The engine's name.
    pub engine_name: String,
    /// The bay that its labels name.
    pub bay_id: ObjectId,
    /// When it was found.
    pub since: Timestamp,
}

const UNKNOWN_CONTAINERS: &str =
    "What its engine has under this node's label and no object is the record of: left alone.";
const UNKNOWN_NETWORKS: &str =
    "Networks that its engine has under this node's label for bays that are not recorded.";

impl View for NodeView {
    const TABLE: &'static [FieldDef<Self>] = &[
        FieldDef::uuid(""),
        field!("type", node_type)
            .means("`docker` where a backend registered it.")
            .in_lists()
            .writable(Rule::Name, ""),
        field!("image_id", image_id).in_lists().writable(Rule::Text, ""),
        field!("ironic_node_id", ironic_node_id).in_lists().writable(Rule::Name, "Unique."),
        field!("host", host).means("Its host name, where a backend registered it.").in_lists(),
        FieldDef::<Self>::new::<OneStatus<Status>>("status", |it| it.status.name().into())
            .means("`available`, `unavailable`, or `unknown` where no backend registered it.")
            .in_lists(),
        field!("status_reason", status_reason),
        FieldDef::<Self>::optional::<String>("status_since", |it| it.status_since.into()),
        field!("engine", engine).means("The engine and its version."),
        field!("cpus", cpus).listed(),
        field!("memory_bytes", memory_bytes),
        FieldDef::<Self>::made_elsewhere("unknown_containers", || list_of("UnknownContainer"))
            .means(UNKNOWN_CONTAINERS),
        FieldDef::<Self>::made_elsewhere("unknown_networks", || list_of("UnknownNetwork"))
            .means(UNKNOWN_NETWORKS),
    ];

    fn first(payload: &NodeEvent) -> Option<Self> {
        let NodeEvent::Created(created) = payload else { return None };
        let NodeCreatedV1 { node_type, image_id, ironic_node_id, host } = created.clone();
        Some(Self { node_type, image_id, ironic_node_id, host, ..Self::default() })
    }

    fn change(&mut self, payload: &NodeEvent, event: &EventRef<'_>) {
        let before = self.status;
        self.status = before.after(payload);
        if self.status != before && !before.is_gone() {
            self.status_since = Some(event.time);
        }
        match payload.clone() {
            NodeEvent::CameUp(up) => {
                self.status_reason = None;
                self.engine = Some(up.engine);
                self.cpus = Some(up.cpus);
                self.memory_bytes = Some(up.memory_bytes);
            }
            NodeEvent::WentDown(down) => self.status_reason = Some(down.reason),
            NodeEvent::UnknownContainerFound(found) => {
                self.unknown_containers.push(UnknownContainer {
                    engine_id: found.engine_id,
                    engine_name: found.engine_name,
                    container_id: found.container_id,
                    state: found.state,
                    since: event.time,
                });
            }
            NodeEvent::UnknownContainerGone(gone) => {
                self.unknown_containers.retain(|it| it.engine_id != gone.engine_id);
            }
            NodeEvent::UnknownNetworkFound(found) => self.unknown_networks.push(UnknownNetwork {
                engine_id: found.engine_id,
                engine_name: found.engine_name,
                bay_id: found.bay_id,
                since: event.time,
            }),
            NodeEvent::UnknownNetworkGone(gone) => {
                self.unknown_networks.retain(|it| it.engine_id != gone.engine_id);
            }
            NodeEvent::Created(_) | NodeEvent::Updated(_) | NodeEvent::Deleted(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, updated};
    use super::*;
    use crate::events::node::{
        NodeCameUpV1, NodeDeletedV1, NodeUnknownContainerFoundV1, NodeUnknownContainerGoneV1,
        NodeUnknownNetworkFoundV1, NodeUnknownNetworkGoneV1, NodeWentDownV1,
    };

    #[test]
    fn a_node_comes_and_goes() {
        let mut story = Story::<NodeView>::new();
        let host = Some("n1".to_owned());
        let (node_type, image_id, ironic_node_id) = (None, None, None);
        let made = NodeCreatedV1 { node_type, image_id, ironic_node_id, host };
        story.tell(&NodeEvent::Created(made));
        assert_eq!(story.now_view().status, Status::Unknown);
        let up = || NodeCameUpV1 { engine: "docker 20".to_owned(), cpus: 2, memory_bytes: 7 };
        story.tell(&NodeEvent::CameUp(up()));
        let since = story.now();
        story.tell(&NodeEvent::CameUp(up()));
        let view = story.now_view();
        assert_eq!((view.status, view.status_since), (Status::Available, Some(since)));
        assert_eq!((view.cpus, view.memory_bytes), (Some(2), Some(7)));
        story.tell(&NodeEvent::WentDown(NodeWentDownV1 { reason: "refused".to_owned() }));
        let view = story.now_view();
        assert_eq!((view.status, view.status_since), (Status::Unavailable, Some(story.now())));
        assert_eq!(view.status_reason.as_deref(), Some("refused"));
        story.tell(&NodeEvent::Updated(updated("type", "\"virt\"")));
        assert_eq!(story.now_view().node_type.as_deref(), Some("virt"));
        let engine_id = || "e1".to_owned();
        story.tell(&NodeEvent::UnknownContainerFound(NodeUnknownContainerFoundV1 {
            engine_id: engine_id(),
            engine_name: "magnum-x".to_owned(),
            container_id: ObjectId::default(),
            state: "running".to_owned(),
        }));
        let found = story.now_view().unknown_containers[0].clone();
        assert_eq!((found.engine_name.as_str(), found.since), ("magnum-x", story.now()));
        let gone =
            |engine_id| NodeEvent::UnknownContainerGone(NodeUnknownContainerGoneV1 { engine_id });
        story.tell(&gone("other".to_owned()));
        assert_eq!(story.now_view().unknown_containers.len(), 1);
        story.tell(&gone(engine_id()));
        assert!(story.now_view().unknown_containers.is_empty());
        let bay_id = ObjectId::default();
        story.tell(&NodeEvent::UnknownNetworkFound(NodeUnknownNetworkFoundV1 {
            engine_id: engine_id(),
            engine_name: "magnum-x".to_owned(),
            bay_id,
        }));
        let found = story.now_view().unknown_networks[0].clone();
        assert_eq!((found.bay_id, found.since), (bay_id, story.now()));
        let gone =
            |engine_id| NodeEvent::UnknownNetworkGone(NodeUnknownNetworkGoneV1 { engine_id });
        story.tell(&gone("other".to_owned()));
        assert_eq!(story.now_view().unknown_networks.len(), 1);
        story.tell(&gone(engine_id()));
        assert!(story.now_view().unknown_networks.is_empty());
        story.tell(&NodeEvent::Deleted(NodeDeletedV1 {}));
        assert_eq!(story.view, None);
    }
}
