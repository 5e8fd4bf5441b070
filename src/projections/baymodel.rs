//! What queries know of baymodels.

use serde::{Deserialize, Serialize};

use super::field_table::{FieldDef, MAX_COUNT, Rule, SortAs, filter_names, filters};
use super::work::{number, text};
use super::{View, ViewHead};
use crate::events::baymodel::{BaymodelEvent, BaymodelFields};
use crate::events::{DecodeError, EventRef};

/// A baymodel as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaymodelView {
    /// What every view has.
    pub head: ViewHead,
    /// All that it holds.
    pub fields: BaymodelFields,
}

type BaymodelField = FieldDef<BaymodelView>;

/// A field that holds a name or nothing, as most do.
macro_rules! name {
    ($field:ident) => {
        BaymodelField::optional::<String>(stringify!($field), |it| (&it.fields.$field).into())
            .writable(Rule::Name, "")
            .set(|it, new| it.fields.$field = text(new))
    };
}

/// A baymodel's fields.
const FIELDS: &[BaymodelField] = &[
    BaymodelField::new::<String>("uuid", |it| it.head.uuid.into()).in_lists().given(Rule::Uuid, ""),
    name!(name).in_lists(),
    BaymodelField::new::<String>("coe", |it| (&it.fields.coe).into())
        .means(COE)
        .in_lists()
        .needed(Rule::Name, COE)
        .kept(Rule::Name)
        .set(|it, new| it.fields.coe = text(new).unwrap_or_default()),
    BaymodelField::new::<String>("image_id", |it| (&it.fields.image_id).into())
        .in_lists()
        .needed(Rule::Name, "")
        .kept(Rule::Name)
        .set(|it, new| it.fields.image_id = text(new).unwrap_or_default()),
    BaymodelField::optional::<String>("keypair_id", |it| (&it.fields.keypair_id).into())
        .needed(Rule::Name, "")
        .kept(Rule::Name)
        .set(|it, new| it.fields.keypair_id = text(new)),
    name!(flavor_id),
    name!(master_flavor_id),
    name!(external_network_id),
    name!(fixed_network),
    BaymodelField::optional::<String>("dns_nameserver", |it| (&it.fields.dns_nameserver).into())
        .writable(Rule::Ipv4, "An IPv4 address.")
        .set(|it, new| it.fields.dns_nameserver = text(new)),
    BaymodelField::optional::<u16>("apiserver_port", |it| it.fields.apiserver_port.into())
        .listed()
        .filter(SortAs::Number)
        .writable(PORT, "")
        .set(|it, new| it.fields.apiserver_port = number(new)),
    BaymodelField::optional::<u32>("docker_volume_size", |it| {
        it.fields.docker_volume_size_gb.into()
    })
    .means("Gigabytes.")
    .writable(SIZE, "Gigabytes.")
    .set(|it, new| it.fields.docker_volume_size_gb = number(new)),
    BaymodelField::optional::<String>("ssh_authorized_key", |it| {
        (&it.fields.ssh_authorized_key).into()
    })
    .writable(Rule::Text, "")
    .set(|it, new| it.fields.ssh_authorized_key = text(new)),
    name!(cluster_distro),
];

const COE: &str = "Container orchestration engine: `docker`, `kubernetes`, `swarm`.";
const PORT: Rule = Rule::Integer(1024, 65535);
const SIZE: Rule = Rule::Integer(1, MAX_COUNT);

impl View for BaymodelView {
    const TABLE: &'static [FieldDef<Self>] = FIELDS;
    const FIELDS: &'static [&'static str] =
        &filter_names::<Self, { filters(FIELDS, false) }>(FIELDS, false);
    const NUMBERS: &'static [&'static str] =
        &filter_names::<Self, { filters(FIELDS, true) }>(FIELDS, true);

    fn head(&self) -> &ViewHead {
        &self.head
    }

    fn apply(view: &mut Option<Self>, event: &EventRef<'_>) -> Result<(), DecodeError> {
        match event.decode()? {
            BaymodelEvent::Created(created) => {
                *view = Some(Self { head: ViewHead::first(event), fields: created.fields });
            }
            BaymodelEvent::Deleted(_) => *view = None,
            BaymodelEvent::Updated(updated) => {
                if let Some(view) = view {
                    view.head.change(event);
                    view.set_fields(&updated);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, updated};
    use super::*;
    use crate::events::baymodel::{BaymodelCreatedV1, BaymodelDeletedV1};

    #[test]
    fn every_field_can_be_set_and_cleared() {
        let mut story = Story::<BaymodelView>::new();
        let fields = BaymodelFields::default();
        story.tell(&BaymodelEvent::Created(BaymodelCreatedV1 { fields: fields.clone() }));
        for name in FIELDS.iter().filter(|row| row.set.is_some()).map(|row| row.name) {
            story.tell(&BaymodelEvent::Updated(updated(name, "\"8080\"")));
            assert_ne!(story.now_view().fields, fields, "{name}");
            story.tell(&BaymodelEvent::Updated(updated(name, "null")));
            assert_eq!(story.now_view().fields, fields, "{name}");
        }
        story.tell(&BaymodelEvent::Updated(updated("apiserver_port", "6443")));
        assert_eq!(story.now_view().field("apiserver_port").as_deref(), Some("6443"));
        story.tell(&BaymodelEvent::Deleted(BaymodelDeletedV1 {}));
        assert_eq!(story.view, None);
    }
}
