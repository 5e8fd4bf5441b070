//! What queries know of baymodels.

use serde::{Deserialize, Serialize};

use super::field_table::{FieldDef, Filter, Held, MAX_COUNT, Rule, filter_names, filters};
use super::work::{number, text};
use super::{View, ViewHead};
use crate::events::baymodel::{BaymodelEvent, BaymodelFields};
use crate::events::{DecodeError, EventRef};
use crate::ids::Kind;

/// A baymodel as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaymodelView {
    /// What every view has.
    pub head: ViewHead,
    /// All that it holds.
    pub fields: BaymodelFields,
}

/// A baymodel's fields.
const FIELDS: &[FieldDef<BaymodelView>] = &[
    FieldDef::new::<String>("uuid", |it| it.head.uuid.into())
        .listed()
        .filter(Filter::Text)
        .given(Rule::Uuid, ""),
    name_like("name", |it| (&it.fields.name).into(), |it, new| it.fields.name = text(new))
        .listed()
        .filter(Filter::Text),
    FieldDef::new::<String>("coe", |it| (&it.fields.coe).into())
        .means(COE)
        .listed()
        .filter(Filter::Text)
        .needed(Rule::Name, COE)
        .kept(Rule::Name)
        .set(|it, new| it.fields.coe = text(new).unwrap_or_default()),
    FieldDef::new::<String>("image_id", |it| (&it.fields.image_id).into())
        .listed()
        .filter(Filter::Text)
        .needed(Rule::Name, "")
        .kept(Rule::Name)
        .set(|it, new| it.fields.image_id = text(new).unwrap_or_default()),
    FieldDef::optional::<String>("keypair_id", |it| (&it.fields.keypair_id).into())
        .needed(Rule::Name, "")
        .kept(Rule::Name)
        .set(|it, new| it.fields.keypair_id = text(new)),
    name_like(
        "flavor_id",
        |it| (&it.fields.flavor_id).into(),
        |it, new| it.fields.flavor_id = text(new),
    ),
    name_like(
        "master_flavor_id",
        |it| (&it.fields.master_flavor_id).into(),
        |it, new| it.fields.master_flavor_id = text(new),
    ),
    name_like(
        "external_network_id",
        |it| (&it.fields.external_network_id).into(),
        |it, new| it.fields.external_network_id = text(new),
    ),
    name_like(
        "fixed_network",
        |it| (&it.fields.fixed_network).into(),
        |it, new| it.fields.fixed_network = text(new),
    ),
    FieldDef::optional::<String>("dns_nameserver", |it| (&it.fields.dns_nameserver).into())
        .given(Rule::Ipv4, "An IPv4 address.")
        .patched(Rule::Ipv4)
        .set(|it, new| it.fields.dns_nameserver = text(new)),
    FieldDef::optional::<u16>("apiserver_port", |it| it.fields.apiserver_port.into())
        .listed()
        .filter(Filter::Number)
        .given(PORT, "")
        .patched(PORT)
        .set(|it, new| it.fields.apiserver_port = number(new)),
    FieldDef::optional::<u32>("docker_volume_size", |it| it.fields.docker_volume_size_gb.into())
        .means("Gigabytes.")
        .given(SIZE, "Gigabytes.")
        .patched(SIZE)
        .set(|it, new| it.fields.docker_volume_size_gb = number(new)),
    FieldDef::optional::<String>("ssh_authorized_key", |it| (&it.fields.ssh_authorized_key).into())
        .given(Rule::Text, "")
        .patched(Rule::Text)
        .set(|it, new| it.fields.ssh_authorized_key = text(new)),
    name_like(
        "cluster_distro",
        |it| (&it.fields.cluster_distro).into(),
        |it, new| it.fields.cluster_distro = text(new),
    ),
];

const COE: &str = "Container orchestration engine: `docker`, `kubernetes`, `swarm`.";
const PORT: Rule = Rule::Integer(1024, 65535);
const SIZE: Rule = Rule::Integer(1, MAX_COUNT);

/// A field that holds a name or nothing, as most do.
const fn name_like(
    name: &'static str,
    get: for<'a> fn(&'a BaymodelView) -> Held<'a>,
    set: fn(&mut BaymodelView, &str),
) -> FieldDef<BaymodelView> {
    FieldDef::optional::<String>(name, get).given(Rule::Name, "").patched(Rule::Name).set(set)
}

impl View for BaymodelView {
    const KIND: Kind = Kind::Baymodel;
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
        let names = [
            "name",
            "coe",
            "image_id",
            "keypair_id",
            "flavor_id",
            "master_flavor_id",
            "external_network_id",
            "fixed_network",
            "dns_nameserver",
            "apiserver_port",
            "docker_volume_size",
            "ssh_authorized_key",
            "cluster_distro",
        ];
        for name in names {
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
