//! The name of an object, and what a decision means for it (rule L9): folded from the object's
//! events, the same for all nouns.
//!
//! Not here: who else holds the name, which only the log's writer knows.

use serde::{Deserialize, Serialize};

use super::Entity;
use crate::events::claim::{Claim, Claims, Name};
use crate::events::{EventPayload, Mark, Recorded, Verb};
use crate::ids::{Kind, ObjectId, ProjectId};
use crate::with_noun;

/// What an object is called, if it has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Naming {
    name: Option<String>,
    /// The object in which the name is unique; without one it is so in the project.
    within: Option<ObjectId>,
    /// Whether the object is there and is not being deleted.
    counts: bool,
}

/// The bay of the object that an event begins, if it begins one in a bay.
pub fn begun_in(event: &Recorded) -> Option<ObjectId> {
    let kind = event.stream.kind.noun()?;
    with_noun!(kind, entity E => {
        let begun = event.borrowed().decode::<<E as Entity>::Event>().ok();
        begun.and_then(|begun| E::named(&begun)).and_then(|naming| naming.within)
    })
}

impl Naming {
    /// Of an object that begins, in the object in which its name is unique.
    pub fn begin(name: Option<&String>, within: Option<ObjectId>) -> Self {
        Self { name: name.cloned(), within, counts: true }
    }

    /// Takes in an event.
    pub fn apply<E: Entity>(&mut self, event: &E::Event) {
        if let Some(begun) = E::named(event) {
            *self = begun;
        }
        if let Some(name) = event.updated().and_then(|updated| updated.text("name")) {
            self.name = name;
        }
        match event.mark() {
            _ if event.is_end() => *self = Self::default(),
            Mark::Asks(Verb::Delete) => self.counts = false,
            // It stays after all.
            Mark::Failed | Mark::Unknown
                if matches!(event.failed_verb(), Some(Verb::Delete | Verb::Empty)) =>
            {
                self.counts = true;
            }
            _ => {}
        }
    }

    /// What an object's next events mean for names, where those are unique or not. An object that
    /// stays after all has its name again: that its deletion failed is a fact, which cannot be
    /// refused.
    pub fn claims<E: Entity>(
        &self,
        events: &[E::Event],
        project: &ProjectId,
        are_unique: bool,
    ) -> Claims {
        let mut after = self.clone();
        events.iter().for_each(|event| after.apply::<E>(event));
        if after == *self {
            return Claims::default();
        }
        let (held, holds) = (self.held(E::KIND, project), after.held(E::KIND, project));
        if held == holds {
            return Claims::default();
        }
        let stays = self.name.is_some() && !self.counts;
        let take = if are_unique && !stays { Claim::Take } else { Claim::Share };
        Claims(held.map(Claim::Release).into_iter().chain(holds.map(take)).collect())
    }

    fn held(&self, kind: Kind, project: &ProjectId) -> Option<Name> {
        let name = self.name.as_ref().filter(|_| self.counts)?;
        Some(Name::new(kind, project, self.within, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::bay::Bay;
    use crate::actors::baymodel::Baymodel;
    use crate::actors::container::Container;
    use crate::events::bay::{
        BayCreateRefusedV1, BayCreateRequestedV1, BayDeleteRequestedV1, BayDeletedV1, BayEvent,
        BayPlan,
    };
    use crate::events::baymodel::{
        BaymodelCreatedV1, BaymodelDeletedV1, BaymodelEvent, BaymodelFields,
    };
    use crate::events::container::{
        ActionDoneV1, ContainerEvent, ContainerSpec, CreateRequestedV1, DeleteRequestedV1,
    };
    use crate::events::work::{FieldChange, Placement, UpdatedV1, WorkFailedV2};
    use crate::ids::WorkId;

    /// What a noun's events mean for names, one line each: `+` takes, `*` shares, `-` releases.
    fn told<E: Entity>(are_unique: bool, events: &[E::Event]) -> Vec<String> {
        let project = ProjectId("p".to_owned());
        let mut naming = Naming::default();
        let mut told = |event: &E::Event| {
            let claims = naming.claims::<E>(std::slice::from_ref(event), &project, are_unique);
            naming.apply::<E>(event);
            let words = claims.0.iter().map(|claim| {
                let sign = match claim {
                    Claim::Take(_) => '+',
                    Claim::Share(_) => '*',
                    Claim::Release(_) => '-',
                };
                format!("{sign}{}/{}", claim.name().scope, claim.name().text)
            });
            words.collect::<Vec<_>>().join(" ")
        };
        events.iter().map(&mut told).collect()
    }

    fn named(name: Option<&str>) -> UpdatedV1 {
        let value = serde_json::to_string(&name).unwrap();
        UpdatedV1 { changes: vec![FieldChange { field: "name".to_owned(), value }] }
    }

    fn failed(action: &str) -> WorkFailedV2 {
        let (action, reason) = (action.to_owned(), String::new());
        WorkFailedV2 { work_id: WorkId::default(), action, reason, cancelled: vec![] }
    }

    fn placement() -> Placement {
        Placement { node_id: ObjectId::default(), verdicts: vec![] }
    }

    #[test]
    fn a_container_holds_its_name_in_its_bay_until_it_is_to_go() {
        type E = ContainerEvent;
        let begun = |name: Option<&str>| {
            E::CreateRequested(CreateRequestedV1 {
                name: name.map(str::to_owned),
                desc: None,
                spec: ContainerSpec::default(),
                bay_id: ObjectId::default(),
                placement: placement(),
            })
        };
        let delete = || E::DeleteRequested(DeleteRequestedV1 { cancelled: vec![] });
        let done = ActionDoneV1 { work_id: WorkId::default() };
        let events = [
            begun(Some("a")),
            E::WorkFailed(failed("create")),
            E::Updated(named(Some("b"))),
            E::Updated(named(Some("b"))),
            delete(),
            E::WorkFailed(failed("delete")),
            delete(),
            E::Deleted(done),
        ];
        let bay = ObjectId::default();
        let (a, b) = (format!("containers/p/{bay}/a"), format!("containers/p/{bay}/b"));
        let wanted = |take: char| {
            let nothing = String::new();
            vec![
                format!("{take}{a}"),
                nothing.clone(),
                format!("-{a} {take}{b}"),
                nothing.clone(),
                format!("-{b}"),
                format!("*{b}"),
                format!("-{b}"),
                nothing,
            ]
        };
        assert_eq!(told::<Container>(true, &events), wanted('+'));
        assert_eq!(told::<Container>(false, &events), wanted('*'));
        let nameless = [begun(None), E::Updated(named(Some("a"))), E::Updated(named(None))];
        let wanted = [String::new(), format!("+{a}"), format!("-{a}")];
        assert_eq!(told::<Container>(true, &nameless), wanted);
    }

    #[test]
    fn bays_and_baymodels_hold_theirs_in_the_project_and_can_begin_again() {
        let plan = BayPlan { name: Some("b".to_owned()), ..BayPlan::default() };
        let begun = BayCreateRequestedV1 { plan: plan.clone(), placement: placement() };
        let begun = || BayEvent::CreateRequested(begun.clone());
        let delete = || BayEvent::DeleteRequested(BayDeleteRequestedV1 {});
        let gone = BayEvent::Deleted(BayDeletedV1 { work_id: WorkId::default() });
        let events =
            [begun(), delete(), BayEvent::WorkFailed(failed("empty")), delete(), gone, begun()];
        let wanted = ["+bays/p/b", "-bays/p/b", "*bays/p/b", "-bays/p/b", "", "+bays/p/b"];
        assert_eq!(told::<Bay>(true, &events), wanted);
        let (action, reason) = ("create".to_owned(), String::new());
        let refused = BayCreateRefusedV1 { plan, placement: placement(), action, reason };
        let events = [BayEvent::CreateRefused(refused), delete()];
        assert_eq!(
            told::<Bay>(true, &events),
            ["+bays/p/b", "-bays/p/b"],
            "it failed, and is there"
        );

        let fields = BaymodelFields { name: Some("m".to_owned()), ..BaymodelFields::default() };
        let events = [
            BaymodelEvent::Created(BaymodelCreatedV1 { fields }),
            BaymodelEvent::Updated(named(Some("n"))),
            BaymodelEvent::Deleted(BaymodelDeletedV1 {}),
        ];
        let wanted = ["+baymodels/p/m", "-baymodels/p/m +baymodels/p/n", "-baymodels/p/n"];
        assert_eq!(told::<Baymodel>(true, &events), wanted);
    }
}
