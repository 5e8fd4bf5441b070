//! What stands in paths, queries and headers: what it means, and which form it has, each said once
//! for the OpenAPI document.
//!
//! Not here: who takes which (`routes`), the checks (`edge/request`, and whoever takes it).

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ComponentsBuilder, Ref, RefOr, Required, Schema};

use super::edge::request::MAX_REASON_BYTES;
use super::form::{NUMBER, TIME, UUID, command, list, matching, name, one_of, text, uuid, whole};
use super::stream::filter::MAX_VALUES;
use super::text::MAX_NAME_BYTES;
use super::verbs::action::SIGNALS;
use crate::events::cloudevent::Outcome;
use crate::ids::StreamKind;
use crate::replay::condition;

/// The form of a value.
type Form = fn() -> RefOr<Schema>;

/// Arguments, by name: their form, and what they mean.
const ARGUMENTS: &[(&str, Form, &str)] = &[
    ("after", after, "A position: only events after it; for streams also latest"),
    (
        "at",
        moment,
        "A position, v: and a revision, a time, before: or after: and an event's id, or latest",
    ),
    ("among", any, "container for all containers, container/web for one; default: all objects"),
    ("apply", some, "A command as JSON, or a list of commands, as in the object's timeline"),
    (
        "before",
        after,
        "A position: the last events before it; latest: the last ones; with limit=0 \
        they are counted",
    ),
    ("bay", names, "Only events of this bay and of containers in it; a UUID or a name; repeatable"),
    ("container", some, "The container of a pod; the first one if none is named"),
    ("command", line, "The command and its arguments, split as Python's shlex does"),
    (
        "condition",
        condition_text,
        "A condition in the Common Expression Language: status == \"Error\"",
    ),
    ("drop", events, "Ids of events to leave out, separated by commas"),
    ("field", some, "A field of the state: status, labels.tier, state.status"),
    ("first", flag, "1: only the first time"),
    ("follow", flag, "1: follow until the container ends; the response is plain text"),
    (
        "force",
        flag,
        "1: give up a bay whose deletion was tried and is blocked or has failed; what could not be \
        deleted stays behind",
    ),
    ("from", moment, "The first point, in the same form as at; default: before everything"),
    ("kind", kinds, "Only events of this kind; repeatable"),
    ("limit", limit, "Maximum number of items in a page; more than 1000 are never sent"),
    ("marker", id, "The UUID of the last object of the previous page"),
    (
        "min_position",
        number,
        "Wait until the read model has reached this position; 503 if it takes too long",
    ),
    (
        "object",
        objects,
        "Only events of this object: a UUID, a name, or kind/ and either; repeatable",
    ),
    ("outcome", outcomes, "Only events with this outcome; repeatable"),
    ("monotone", flag, "1: the condition stays true once it is, so few states need to be checked"),
    (
        "project",
        some,
        "Only events of this project, or of all; auditors of the operators' project may \
        name other ones than their own",
    ),
    (
        "recreate",
        flag,
        "1: recreate the container from its record, with these and all desired changes",
    ),
    ("request_id", requests, "Only events caused by this request; repeatable"),
    ("redact", flag, "1: without values of environment variables; a server always removes them"),
    ("related", flag, "1: include its bay and node, and the containers in it"),
    ("signal", signal, "The signal's name or number; default: SIGKILL"),
    ("since", since, "Only output or events at or after this time, or of this age: 15m"),
    ("snapshot", flag, "1: first the current state of all matching objects, then events after it"),
    ("sort_dir", direction, "The order; default: asc"),
    ("sort_key", some, "The field to sort by"),
    ("stderr", flag, "0: without standard error; 1: only standard error"),
    ("stdout", flag, "0: without standard output; 1: only standard output"),
    (
        "stream",
        flag,
        "1: the output while it comes, in frames of the Docker Engine API: the stream as one byte \
         (1: stdout, 2: stderr, 3: the service, last, with the reason why the rest is missing), \
         three zeros, the length as four bytes, the data",
    ),
    ("subject", objects, "The same as object; events have it as kind/UUID"),
    ("tail", number, "Only the last lines, this many"),
    ("timeout", grace, "Seconds between the stop signal and the kill; -1: no kill; default: 10"),
    ("timestamps", flag, "1: each line starts with its time"),
    ("to", moment, "The second point, in the same form as at; default: now"),
    ("type", texts, "Only events of this type, such as container.started; repeatable"),
    ("until", since, "Only output before this time, or older than this: 15m"),
    ("user", texts, "Only events requested by this user; repeatable"),
];

/// Arguments without which a request cannot be meant.
const NEEDED: [&str; 3] = ["command", "condition", "field"];

/// What stands in paths: the parameter, its name there, its form, and what it means.
const PARTS: &[(&str, &str, Form, &str)] = &[
    ("file", "file", a_name, "A type of event with its version: container.started.v1.json"),
    ("id", "id", a_name, "The id of a command: X-Magnum-Execution of the response that started it"),
    ("ident", "ident", a_name, "A UUID or a name"),
    ("node", "ident", id, "A UUID"),
    ("request", "ident", request, "The X-Openstack-Request-Id of a response: req-UUID"),
];

/// Headers that every change takes.
const HEADERS: &[(&str, Form, &str)] = &[
    ("Idempotency-Key", key, "Repeating a request with the same key has no further effect"),
    ("If-Match", etag, "The ETag that the object must have; 412 otherwise"),
    ("Prefer", any, "respond-async: 202 at once; wait=5: wait up to 5 seconds"),
    ("X-Magnum-Reason", reason, "The reason; recorded with the events"),
];

/// All of them, each said once.
pub fn all() -> ComponentsBuilder {
    let parts = PARTS.iter().map(|row| (row.0, ParameterIn::Path, row.1, row.2, row.3));
    let arguments = ARGUMENTS.iter().map(|row| (row.0, ParameterIn::Query, row.0, row.1, row.2));
    let headers = HEADERS.iter().map(|row| (row.0, ParameterIn::Header, row.0, row.1, row.2));
    parts.chain(arguments).chain(headers).fold(
        ComponentsBuilder::new(),
        |components, (key, place, name, form, meaning)| {
            components.parameter(key, parameter(place, name, form, meaning))
        },
    )
}

/// Those of a route: what stands in its path, its arguments, and the headers of a change of an
/// object, which a session is not.
pub fn of(path: &str, query: &[&'static str], is_change: bool) -> Vec<Ref> {
    let is_change = is_change && path.starts_with("/v1/") && path != "/v1/session";
    let parts = PARTS.iter().filter(|row| is_in(path, row.0, row.1)).map(|row| row.0);
    let headers = HEADERS.iter().filter(|_| is_change).map(|row| row.0);
    let keys = parts.chain(query.iter().copied()).chain(headers);
    keys.map(|key| Ref::new(format!("#/components/parameters/{key}"))).collect()
}

/// Whether a part stands in a path. Nodes and requests have no names.
fn is_in(path: &str, key: &str, name: &str) -> bool {
    let key_of_ident = match path {
        path if path.starts_with("/v1/nodes/") => "node",
        path if path.starts_with("/v1/trace/") => "request",
        _ => "ident",
    };
    path.contains(&format!("{{{name}}}")) && (name != "ident" || key == key_of_ident)
}

fn parameter(place: ParameterIn, name: &str, form: Form, meaning: &str) -> Parameter {
    let is_needed = matches!(place, ParameterIn::Path) || NEEDED.contains(&name);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(if is_needed { Required::True } else { Required::False })
        .description(Some(meaning))
        .schema(Some(form()))
        .build()
}

fn any() -> RefOr<Schema> {
    text().into()
}

fn some() -> RefOr<Schema> {
    some_text().into()
}

fn some_text() -> ObjectBuilder {
    text().min_length(Some(1))
}

fn texts() -> RefOr<Schema> {
    several(some_text())
}

fn a_name() -> RefOr<Schema> {
    name().into()
}

fn names() -> RefOr<Schema> {
    several(name())
}

/// Values of which one has to fit.
fn several(item: ObjectBuilder) -> RefOr<Schema> {
    list(item, MAX_VALUES).into()
}

fn id() -> RefOr<Schema> {
    uuid().into()
}

fn number() -> RefOr<Schema> {
    whole(0, u64::MAX).into()
}

/// Whatever is more than a page may have is taken for that; 0 only where events are counted.
fn limit() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).into()
}

fn grace() -> RefOr<Schema> {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer);
    seconds.minimum(Some(-1)).maximum(Some(i32::MAX)).into()
}

/// Without a value it is yes.
fn flag() -> RefOr<Schema> {
    one_of(["", "0", "1", "false", "no", "true", "yes"]).into()
}

fn direction() -> RefOr<Schema> {
    one_of(["asc", "desc"]).into()
}

fn after() -> RefOr<Schema> {
    matching(&format!("latest|{NUMBER}")).into()
}

fn moment() -> RefOr<Schema> {
    matching(&format!("latest|(v:)?{NUMBER}|(before|after):{UUID}|{TIME}")).into()
}

fn since() -> RefOr<Schema> {
    matching(&format!(r"([0-9]{{1,9}}[smhd])+|[0-9]{{1,11}}(\.[0-9]{{1,6}})?|{TIME}")).into()
}

fn line() -> RefOr<Schema> {
    command().into()
}

fn condition_text() -> RefOr<Schema> {
    some_text().max_length(Some(condition::MAX_BYTES)).into()
}

fn events() -> RefOr<Schema> {
    matching(&format!("{UUID}(,{UUID})*")).into()
}

fn kinds() -> RefOr<Schema> {
    several(one_of(StreamKind::all().map(StreamKind::name)))
}

fn objects() -> RefOr<Schema> {
    names()
}

fn outcomes() -> RefOr<Schema> {
    several(one_of(Outcome::ALL.map(|(name, _)| name)))
}

fn request() -> RefOr<Schema> {
    a_request().into()
}

fn requests() -> RefOr<Schema> {
    several(a_request())
}

fn a_request() -> ObjectBuilder {
    matching(&format!("req-{UUID}"))
}

fn signal() -> RefOr<Schema> {
    let names = SIGNALS.join("|");
    let real_time = "RTMIN([+]([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?";
    matching(&format!("(SIG)?({names}|{real_time})|[1-9]|[1-5][0-9]|6[0-4]")).into()
}

/// Also other characters, in UTF-8.
fn key() -> RefOr<Schema> {
    matching("[!-~]([ -~]*[!-~])?").max_length(Some(MAX_NAME_BYTES)).into()
}

/// Also other characters, in UTF-8.
fn reason() -> RefOr<Schema> {
    matching("[ -~]*").max_length(Some(MAX_REASON_BYTES)).into()
}

/// Clients of ours also send the revision alone.
fn etag() -> RefOr<Schema> {
    matching(&format!(r#"\*|(W/)?"?{NUMBER}"?"#)).into()
}
