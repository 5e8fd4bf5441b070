//! What clients may write by a rule, as JSON Schemas, with the limits that the checks have: what a
//! POST may have in a field, and what a PATCH may do.
//!
//! Schemas have the forms that new clients should write; the checks also take what clients of 2015
//! write, such as numbers as text. Not here: the checks (`body`, `patch`, `value`, `container`).

use serde_json::Value;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{RefOr, Schema};

use super::body::MAX_URL_BYTES;
use super::container::{MAX_ENTRIES, MAX_FOLDER_BYTES, MAX_MEMORY_BYTES, MAX_PORTS, PROTOCOLS};
use super::patch::{MAX_OPERATIONS, OPERATIONS, REMOVE};
use super::value::MAX_TEXT_BYTES;
use crate::allowed::{MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES};
use crate::http::form;
use crate::http::text::MAX_NAME_BYTES;
use crate::image::MAX_REFERENCE_BYTES;
use crate::manifest::MAX_BYTES as MAX_MANIFEST_BYTES;
use crate::projections::View;
use crate::projections::field_table::{Given, Patch, Rule, or_null};

/// A byte of an IPv4 address.
const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

/// A port, from 1 to 65535.
const PORT: &str = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|\
    655[0-2][0-9]|6553[0-5])";

/// Text without the character that ends it for the kernel.
const NO_ZERO: &str = r"[^\u0000]*";

/// What a POST may have in a field; `null` stands for what is not given.
pub fn given(given: &Given) -> RefOr<Schema> {
    let schema = of(given.rule);
    if given.is_mandatory { schema } else { or_null(schema) }
}

/// A list of operations on the fields that a PATCH may change.
pub fn patch<V: View>() -> ArrayBuilder {
    let settable = V::TABLE.iter().filter_map(|field| match field.patch {
        Patch::Set { rule, is_mandatory } => Some((format!("/{}", field.name), rule, is_mandatory)),
        Patch::No | Patch::Internal => None,
    });
    let mut operations = AnyOfBuilder::new();
    let mut removable = Vec::new();
    for (path, rule, is_mandatory) in settable {
        let sets = operation(&OPERATIONS, [path.clone()]);
        operations = operations.item(sets.property("value", of(rule)).required("value"));
        if !is_mandatory {
            removable.push(path);
        }
    }
    let operations = operations.item(operation(&[REMOVE], removable));
    ArrayBuilder::new().items(operations).max_items(Some(MAX_OPERATIONS))
}

fn operation(names: &[&str], paths: impl IntoIterator<Item = String>) -> ObjectBuilder {
    ObjectBuilder::new()
        .property("op", form::one_of(names.iter().copied()))
        .property("path", form::text().enum_values(Some(paths)))
        .required("op")
        .required("path")
}

fn of(rule: Rule) -> RefOr<Schema> {
    match rule {
        Rule::Name => form::name().into(),
        Rule::Text => form::plain(MAX_TEXT_BYTES).into(),
        Rule::Integer(min, max) => form::whole(min, max).into(),
        Rule::Uuid => form::uuid().into(),
        Rule::NewUuid => form::new_uuid().into(),
        Rule::Ipv4 => {
            let format = SchemaFormat::KnownFormat(KnownFormat::Ipv4);
            form::matching(&ipv4()).format(Some(format)).into()
        }
        Rule::Image => {
            let image = form::matching(r"[^\s\u0000-\u001f\u007f-\u009f]+");
            image.max_length(Some(MAX_REFERENCE_BYTES)).into()
        }
        Rule::Command => {
            let words = form::list(form::matching(NO_ZERO), MAX_ENTRIES);
            AnyOfBuilder::new().item(words).item(form::words()).into()
        }
        Rule::CommandLine => form::words().min_length(Some(1)).into(),
        Rule::Variables => pairs(r"[^=\u0000]+").into(),
        Rule::Labels => pairs(&format!("{}+", form::PLAIN)).into(),
        Rule::Ports => {
            let port = AnyOfBuilder::new().item(port_line()).item(port_number()).item(port());
            let ports = ArrayBuilder::new().items(port).max_items(Some(MAX_PORTS));
            ports.examples([Value::from(["8080:80/tcp"])]).into()
        }
        Rule::Memory => form::whole(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES).into(),
        Rule::Cpus => {
            let cpus = ObjectBuilder::new().schema_type(Type::Number).examples([0.5]);
            cpus.minimum(Some(MIN_CPUS)).maximum(Some(MAX_CPUS)).into()
        }
        Rule::Folder => {
            let folder = form::matching(&format!("/{}*", form::PLAIN));
            folder.max_length(Some(MAX_FOLDER_BYTES)).into()
        }
        Rule::User => form::plain(MAX_NAME_BYTES).into(),
        Rule::RestartPolicy => {
            form::matching("no|always|unless-stopped|on-failure(:[0-9]{1,9})?").into()
        }
        Rule::Manifest => {
            let object = ObjectBuilder::new().schema_type(Type::Object);
            let text = form::text().max_length(Some(MAX_MANIFEST_BYTES));
            AnyOfBuilder::new().item(text).item(object).into()
        }
        Rule::Url => form::plain(MAX_URL_BYTES).into(),
        Rule::ReadOnly => ObjectBuilder::new().schema_type(Type::Null).into(),
    }
}

/// Names of this form, with values.
fn pairs(name: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(Schema::from(form::matching(name).build())))
        .additional_properties(Some(form::matching(NO_ZERO)))
        .max_properties(Some(MAX_ENTRIES))
}

/// `[[ip:]host_port:]container_port[/protocol]`
fn port_line() -> ObjectBuilder {
    let protocols = PROTOCOLS.join("|");
    form::matching(&format!("(({}:)?{PORT}:)?{PORT}(/({protocols}))?", ipv4()))
}

fn ipv4() -> String {
    format!(r"({BYTE}\.){{3}}{BYTE}")
}

fn port_number() -> ObjectBuilder {
    form::whole(1, u64::from(u16::MAX))
}

/// The same as an object.
fn port() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("container_port", port_number())
        .property("host_port", or_null(form::whole(0, u64::from(u16::MAX))))
        .property("host_ip", or_null(form::text()))
        .property("protocol", or_null(form::matching(&PROTOCOLS.join("|"))))
        .required("container_port")
}
