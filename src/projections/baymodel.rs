//! What queries know of baymodels.

use serde::{Deserialize, Serialize};

use super::work::{number, text};
use super::{View, ViewHead};
use crate::events::baymodel::{BaymodelEvent, BaymodelFields};
use crate::events::work::FieldChange;
use crate::events::{DecodeError, EventRef};

/// A baymodel as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaymodelView {
    /// What every view has.
    pub head: ViewHead,
    /// All that it holds.
    pub fields: BaymodelFields,
}

impl View for BaymodelView {
    const FIELDS: &'static [&'static str] = &["uuid", "name", "coe", "image_id", "apiserver_port"];
    const NUMBERS: &'static [&'static str] = &["apiserver_port"];

    fn head(&self) -> &ViewHead {
        &self.head
    }

    fn field(&self, name: &str) -> Option<String> {
        match name {
            "uuid" => Some(self.head.uuid.to_string()),
            "name" => self.fields.name.clone(),
            "coe" => Some(self.fields.coe.clone()),
            "image_id" => Some(self.fields.image_id.clone()),
            "apiserver_port" => self.fields.apiserver_port.map(|port| port.to_string()),
            _ => None,
        }
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
                    for change in &updated.changes {
                        set(&mut view.fields, change);
                    }
                }
            }
        }
        Ok(())
    }
}

fn set(fields: &mut BaymodelFields, change: &FieldChange) {
    let value = || text(&change.value);
    match change.field.as_str() {
        "name" => fields.name = value(),
        "coe" => fields.coe = value().unwrap_or_default(),
        "image_id" => fields.image_id = value().unwrap_or_default(),
        "keypair_id" => fields.keypair_id = value(),
        "flavor_id" => fields.flavor_id = value(),
        "master_flavor_id" => fields.master_flavor_id = value(),
        "external_network_id" => fields.external_network_id = value(),
        "fixed_network" => fields.fixed_network = value(),
        "dns_nameserver" => fields.dns_nameserver = value(),
        "apiserver_port" => fields.apiserver_port = number(&change.value),
        "docker_volume_size" => fields.docker_volume_size_gb = number(&change.value),
        "ssh_authorized_key" => fields.ssh_authorized_key = value(),
        "cluster_distro" => fields.cluster_distro = value(),
        _ => {}
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
