//! What queries know of bays.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::field_table::{FieldDef, Held, MAX_COUNT, OneStatus, Rule, SortAs};
use super::work::{follow, has_work, progress, reason};
use super::{OutcomeView, TaskView, View, ViewHead, desired};
use crate::events::EventRef;
use crate::events::bay::{BayEvent, Status, too_many};
use crate::field;
use crate::ids::ObjectId;

/// A bay as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BayView {
    /// What every view has.
    pub head: ViewHead,
    /// Its name.
    pub name: Option<String>,
    /// What it is made from.
    pub baymodel_id: ObjectId,
    /// How many nodes it has, or was to have if it could not be made.
    pub node_count: u32,
    /// How many it is wanted to have, if there are not as many.
    pub desired_nodes: Option<u32>,
    /// How many there were when it was placed.
    pub nodes_there: u32,
    /// `CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, ... as Heat has them.
    pub status: Status,
    /// Why, unless it is obvious.
    pub status_reason: Option<String>,
    /// Where a swarm finds itself.
    pub discovery_url: Option<String>,
    /// The `type` of the 2014 API.
    pub bay_type: Option<String>,
    /// The `image_id` of the 2014 API.
    pub image_id: Option<String>,
    /// The node that holds its network.
    pub node_uuid: ObjectId,
    /// That node's host name.
    pub node_host: String,
    /// The engine's id of its network.
    pub network_id: Option<String>,
    /// Work that it waits for.
    pub tasks: Vec<TaskView>,
    /// The outcome of work lately.
    pub outcomes: Vec<OutcomeView>,
}

impl View for BayView {
    const TABLE: &'static [FieldDef<Self>] = &[
        FieldDef::uuid(""),
        field!("name", name).in_lists().writable(Rule::Name, "Unique in the project."),
        field!("baymodel_id", baymodel_id)
            .means("The baymodel's uuid.")
            .in_lists()
            .given(Rule::Name, "A baymodel's uuid or name; defaults to the project's `default`.")
            .kept(Rule::Name),
        field!("node_count", node_count)
            .listed()
            .filter(SortAs::Number)
            .given(Rule::Integer(1, MAX_COUNT), "Defaults to 1.")
            .kept(Rule::Integer(1, MAX_COUNT))
            .set(|it, new| it.want_nodes(new.trim_matches('"').parse().ok())),
        FieldDef::<Self>::new::<String>("desired", |it| {
            let wanted = it.desired_nodes.map(|count| ("node_count".to_owned(), json!(count)));
            Held::Json(Value::Object(wanted.into_iter().collect()))
        })
        .schema(desired::schema)
        .means("A node_count that was set and cannot be served."),
        FieldDef::<Self>::new::<OneStatus<Status>>("status", |it| it.status.name().into())
            .means("`CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, ... as OpenStack Heat has them.")
            .in_lists()
            .internal(),
        FieldDef::<Self>::optional::<String>("status_reason", |it| {
            reason(&it.tasks, it.status_reason.as_deref())
        })
        .means("Why it is as it is: what its work is blocked on, or why its status changed."),
        FieldDef::hidden("bay_create_timeout").given(
            Rule::Integer(0, MAX_COUNT),
            "Minutes until creation counts as failed; 0 never.",
        ),
        field!("discovery_url", discovery_url).writable(Rule::Name, ""),
        FieldDef::optional::<String>("api_address", |_| Held::Nothing)
            .given(Rule::ReadOnly, "")
            .internal(),
        FieldDef::<Self>::new::<Vec<String>>("node_addresses", |it| {
            Held::Json(it.network_id.iter().map(|_| it.node_host.as_str()).collect())
        })
        .given(Rule::ReadOnly, "")
        .internal(),
        field!("type", bay_type).listed().writable(Rule::Name, ""),
        field!("image_id", image_id).listed().writable(Rule::Text, ""),
        field!("node_uuid", node_uuid)
            .means("The node that holds the bay's network.")
            .filter(SortAs::Text),
        field!("network_id", network_id).means("The engine's id of that network."),
        FieldDef::task(),
    ];

    fn wanted(&self, field: &str) -> Option<Value> {
        self.desired_nodes.filter(|_| field == "node_count").map(Value::from)
    }

    fn first(payload: &BayEvent) -> Option<Self> {
        let (plan, placement) = match payload.clone() {
            BayEvent::CreateRequested(asked) => (asked.plan, asked.placement),
            BayEvent::CreateRefused(asked) => (asked.plan, asked.placement),
            _ => return None,
        };
        let nodes_there = placement.nodes();
        let node_uuid = placement.node_id;
        let chosen = placement.verdicts.into_iter().find(|it| it.node_id == node_uuid);
        Some(Self {
            name: plan.name,
            baymodel_id: plan.baymodel_id,
            node_count: plan.node_count,
            nodes_there,
            discovery_url: plan.discovery_url,
            bay_type: plan.bay_type,
            image_id: plan.image_id,
            node_uuid,
            node_host: chosen.map(|verdict| verdict.host).unwrap_or_default(),
            ..Self::default()
        })
    }

    fn change(&mut self, payload: &BayEvent, _event: &EventRef<'_>) {
        follow(&mut self.status, &mut self.status_reason, payload);
        match payload {
            BayEvent::Created(created) => {
                self.network_id = Some(created.network_id.clone());
                // Earlier builds made bays of any number of nodes.
                self.want_nodes(Some(self.node_count));
            }
            BayEvent::Updated(_) => {
                let unserved = self.desired_nodes.and_then(|it| too_many(it, self.nodes_there));
                self.status_reason = unserved;
            }
            BayEvent::Emptied(emptied) => {
                let message = "empty; removing the network".to_owned();
                progress(&mut self.tasks, emptied.work_id, Some(message));
            }
            _ => {}
        }
    }

    has_work!();
}

impl BayView {
    /// Sets the number of nodes to what is wanted, or to what there is, with what is wanted beside
    /// it (rule E7).
    fn want_nodes(&mut self, wanted: Option<u32>) {
        let Some(wanted) = wanted else { return };
        self.node_count = wanted.min(self.nodes_there);
        self.desired_nodes = Some(wanted).filter(|wanted| *wanted > self.nodes_there);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Story;
    use super::*;
    use crate::events::bay::{
        BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1, BayEmptiedV1, BayPlan,
    };
    use crate::events::work::{NodeVerdict, Placement};

    type E = BayEvent;

    fn asked() -> BayEvent {
        let (node_id, host) = (ObjectId::default(), "n1".to_owned());
        let verdict = NodeVerdict { node_id, host, eligible: true, reason: "free".to_owned() };
        let placement = Placement { node_id, verdicts: vec![verdict] };
        E::CreateRequested(BayCreateRequestedV1 { plan: BayPlan::default(), placement })
    }

    #[test]
    fn a_bay_says_where_its_network_is_and_how_far_a_delete() {
        let mut story = Story::<BayView>::new();
        let work_id = story.tell(&asked());
        let addresses = |story: &Story<BayView>| story.now_view().field("node_addresses").unwrap();
        assert_eq!(addresses(&story), "[]");
        story.tell(&E::Created(BayCreatedV1 { work_id, network_id: "net".to_owned() }));
        assert_eq!(addresses(&story), "[\"n1\"]");
        let work_id = story.tell(&E::DeleteRequested(BayDeleteRequestedV1 {}));
        story.tell(&E::Emptied(BayEmptiedV1 { work_id }));
        let progress = story.now_view().tasks[0].progress.as_deref();
        assert_eq!(progress, Some("empty; removing the network"));
    }
}
