//! What queries know of bays.

use serde::{Deserialize, Serialize};

use super::field_table::{
    FieldDef, Held, MAX_COUNT, Rule, SortAs, filter_names, filters, maybe_task,
};
use super::work::{Failure, WorkOf, number, progress, text};
use super::{OutcomeView, TaskView, View, ViewHead};
use crate::events::bay::{BayCreateRequestedV1, BayEvent, Status};
use crate::events::status::Status as _;
use crate::events::{DecodeError, EventPayload, EventRef};
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
    /// How many nodes were asked for.
    pub node_count: u32,
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

type BayField = FieldDef<BayView>;

/// A bay's fields.
const FIELDS: &[BayField] = &[
    BayField::new::<String>("uuid", |it| it.head.uuid.into()).in_lists().given(Rule::Uuid, ""),
    BayField::optional::<String>("name", |it| (&it.name).into())
        .in_lists()
        .writable(Rule::Name, "Not unique.")
        .set(|it, new| it.name = text(new)),
    BayField::new::<String>("baymodel_id", |it| it.baymodel_id.into())
        .means("The baymodel's uuid.")
        .in_lists()
        .given(
            Rule::Name,
            "A baymodel's uuid or name; the project's `default` one where there is none.",
        )
        .kept(Rule::Name),
    BayField::new::<u32>("node_count", |it| it.node_count.into())
        .listed()
        .filter(SortAs::Number)
        .given(Rule::Integer(1, MAX_COUNT), "1 where there is none.")
        .kept(Rule::Integer(1, MAX_COUNT))
        .set(|it, new| it.node_count = number(new).unwrap_or(it.node_count)),
    BayField::new::<String>("status", |it| it.status.name().into())
        .means("`CREATE_IN_PROGRESS`, `CREATE_COMPLETE`, ... as OpenStack Heat has them.")
        .in_lists()
        .internal(),
    BayField::optional::<String>("status_reason", |it| (&it.status_reason).into()),
    BayField::hidden("bay_create_timeout")
        .given(Rule::Integer(0, MAX_COUNT), "Minutes until creation counts as failed; 0 never."),
    BayField::optional::<String>("discovery_url", |it| (&it.discovery_url).into())
        .writable(Rule::Name, ""),
    BayField::optional::<String>("api_address", |_| Held::Nothing)
        .given(Rule::ReadOnly, "")
        .internal(),
    BayField::new::<Vec<String>>("node_addresses", |it| {
        Held::Json(it.network_id.iter().map(|_| it.node_host.as_str()).collect())
    })
    .given(Rule::ReadOnly, "")
    .internal(),
    BayField::optional::<String>("type", |it| (&it.bay_type).into()).writable(Rule::Name, ""),
    BayField::optional::<String>("image_id", |it| (&it.image_id).into()).writable(Rule::Text, ""),
    BayField::new::<String>("node_uuid", |it| it.node_uuid.into())
        .means("The node that holds the bay's network.")
        .filter(SortAs::Text),
    BayField::optional::<String>("network_id", |it| (&it.network_id).into())
        .means("The engine's id of that network."),
    BayField::made_elsewhere("task", maybe_task).or_null(),
];

impl View for BayView {
    const TABLE: &'static [FieldDef<Self>] = FIELDS;
    const FIELDS: &'static [&'static str] =
        &filter_names::<Self, { filters(FIELDS, false) }>(FIELDS, false);
    const NUMBERS: &'static [&'static str] =
        &filter_names::<Self, { filters(FIELDS, true) }>(FIELDS, true);

    fn head(&self) -> &ViewHead {
        &self.head
    }

    fn tasks(&self) -> &[TaskView] {
        &self.tasks
    }

    fn outcomes(&self) -> &[OutcomeView] {
        &self.outcomes
    }

    fn apply(view: &mut Option<Self>, event: &EventRef<'_>) -> Result<(), DecodeError> {
        match event.decode()? {
            BayEvent::Deleted(_) => *view = None,
            payload => {
                if let BayEvent::CreateRequested(asked) = &payload {
                    *view = Some(Self::asked(asked.clone(), event));
                }
                if let Some(view) = view {
                    view.change(&payload, event);
                }
            }
        }
        Ok(())
    }
}

impl BayView {
    fn asked(asked: BayCreateRequestedV1, event: &EventRef<'_>) -> Self {
        let node_uuid = asked.placement.node_id;
        let chosen = asked.placement.verdicts.into_iter().find(|v| v.node_id == node_uuid);
        let plan = asked.plan;
        Self {
            head: ViewHead::first(event),
            name: plan.name,
            baymodel_id: plan.baymodel_id,
            node_count: plan.node_count,
            discovery_url: plan.discovery_url,
            bay_type: plan.bay_type,
            image_id: plan.image_id,
            node_uuid,
            node_host: chosen.map(|verdict| verdict.host).unwrap_or_default(),
            ..Self::default()
        }
    }

    fn change(&mut self, payload: &BayEvent, event: &EventRef<'_>) {
        let before = self.status;
        self.status = before.after(payload);
        if self.status != before {
            self.status_reason = None;
        }
        let failure = match payload {
            BayEvent::WorkFailed(it) => Some(Failure { action: &it.action, reason: &it.reason }),
            BayEvent::WorkUnknown(it) => Some(Failure { action: &it.action, reason: &it.reason }),
            _ => None,
        };
        let Self { tasks, outcomes, .. } = self;
        WorkOf { tasks, outcomes, event }.follow(payload, failure, None);
        match payload {
            BayEvent::Created(created) => self.network_id = Some(created.network_id.clone()),
            BayEvent::Updated(updated) => self.set_fields(updated),
            BayEvent::Emptied(emptied) => {
                let message = "empty; removing the network".to_owned();
                progress(&mut self.tasks, emptied.work_id, Some(message));
            }
            BayEvent::WorkFailed(failed) if self.status != before => {
                self.status_reason = Some(format!("{} failed: {}", failed.action, failed.reason));
            }
            BayEvent::WorkUnknown(lost) if self.status != before => {
                self.status_reason =
                    Some(format!("outcome of {} is unknown: {}", lost.action, lost.reason));
            }
            _ => {}
        }
        self.head.note(event, payload.mark());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, blocked, failed, unknown, updated};
    use super::*;
    use crate::events::bay::{
        BayCreatedV1, BayDeleteRequestedV1, BayDeletedV1, BayEmptiedV1, BayPlan,
    };
    use crate::events::work::{NodeVerdict, Placement};

    type E = BayEvent;

    fn asked() -> BayEvent {
        let (node_id, host) = (ObjectId::default(), "n1".to_owned());
        let verdict = NodeVerdict { node_id, host, eligible: true, reason: "free".to_owned() };
        let plan = BayPlan {
            name: Some("b".to_owned()),
            baymodel_id: ObjectId::default(),
            node_count: 1,
            discovery_url: None,
            create_timeout_min: 0,
            bay_type: None,
            image_id: None,
        };
        let placement = Placement { node_id, verdicts: vec![verdict] };
        E::CreateRequested(BayCreateRequestedV1 { plan, placement })
    }

    fn status(story: &Story<BayView>) -> &str {
        story.now_view().status.name()
    }

    #[test]
    fn a_bay_is_made_changed_and_deleted() {
        let mut story = Story::<BayView>::new();
        let work_id = story.tell(&asked());
        assert_eq!((status(&story), story.waits_for()), ("CREATE_IN_PROGRESS", vec!["create"]));
        assert_eq!(story.now_view().node_host, "n1");
        story.tell(&E::WorkBlocked(blocked(work_id, 1)));
        assert_eq!(story.now_view().tasks[0].reason.as_deref(), Some("no answer"));
        story.tell(&E::Created(BayCreatedV1 { work_id, network_id: "net".to_owned() }));
        assert_eq!((status(&story), story.waits_for().len()), ("CREATE_COMPLETE", 0));
        story.tell(&E::Updated(updated("node_count", "4")));
        assert_eq!((status(&story), story.now_view().node_count), ("UPDATE_COMPLETE", 4));

        let work_id = story.tell(&E::DeleteRequested(BayDeleteRequestedV1 {}));
        assert_eq!((status(&story), story.waits_for()), ("DELETE_IN_PROGRESS", vec!["delete"]));
        story.tell(&E::Emptied(BayEmptiedV1 { work_id }));
        let progress = story.now_view().tasks[0].progress.as_deref();
        assert_eq!(progress, Some("empty; removing the network"));
        story.tell(&E::Deleted(BayDeletedV1 { work_id }));
        assert_eq!(story.view, None);
        story.tell(&asked());
        assert_eq!((status(&story), story.waits_for()), ("CREATE_IN_PROGRESS", vec!["create"]));
    }

    #[test]
    fn what_fails_says_so_and_a_delete_overtakes_it() {
        let mut story = Story::<BayView>::new();
        let create = story.tell(&asked());
        let delete = story.tell(&E::DeleteRequested(BayDeleteRequestedV1 {}));
        assert_eq!(story.waits_for(), ["delete"]);
        story.tell(&E::WorkFailed(failed(create, "create")));
        assert_eq!(status(&story), "DELETE_IN_PROGRESS");
        story.tell(&E::WorkFailed(failed(delete, "empty")));
        assert_eq!(status(&story), "DELETE_FAILED");
        let reason = story.now_view().status_reason.as_deref();
        assert_eq!(reason, Some("empty failed: no such image"));

        let mut story = Story::<BayView>::new();
        let create = story.tell(&asked());
        story.tell(&E::WorkUnknown(unknown(create, "create")));
        assert_eq!((status(&story), story.waits_for().len()), ("CREATE_FAILED", 0));
        assert_eq!(story.now_view().outcomes[0].failure.as_deref(), Some("answer lost"));
        let delete = story.tell(&E::DeleteRequested(BayDeleteRequestedV1 {}));
        assert_eq!(story.now_view().status_reason, None);
        story.tell(&E::WorkUnknown(unknown(delete, "delete")));
        assert_eq!(status(&story), "DELETE_FAILED");
    }
}
