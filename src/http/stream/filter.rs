//! Filters of a reader: the arguments that select events, validated.
//!
//! Values of one argument are alternatives, different arguments must all match. Events of other
//! projects are never shown. Not here: where to start (`start`).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::events::audit::AuditEvent;
use crate::events::cloudevent::{Outcome, inward_type};
use crate::events::container::ContainerEvent;
use crate::events::log::EventLog;
use crate::events::{Recorded, codec};
use crate::http::edge::policy::Right;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::read;
use crate::http::text::{canonical_uuid, shown};
use crate::ids::{Kind, ObjectId, ProjectId, Revision, StreamId, StreamKind};
use crate::projections::bay::BayView;

/// Arguments that choose events.
pub const FILTERS: [&str; 9] =
    ["kind", "object", "subject", "bay", "type", "project", "user", "request_id", "outcome"];

/// Those that choose objects, and with them all of their events.
const OF_OBJECTS: [&str; 5] = ["kind", "object", "subject", "bay", "project"];

/// Values of all arguments together: the objects of a page on somebody's screen.
pub const MAX_VALUES: usize = 256;

/// Containers whose bay a filter remembers: some 200 KB.
const MAX_REMEMBERED: usize = 4096;

/// Which events a reader may see and wants to. Empty sets want everything.
#[derive(Debug, Default)]
pub struct Filter {
    project: ProjectId,
    /// Whether what was audited is shown.
    audits: bool,
    /// Whether it is of the service's own project, and the caller's is another one.
    is_of_service: bool,
    kinds: BTreeSet<StreamKind>,
    /// With the noun where it was named.
    objects: BTreeSet<(Option<StreamKind>, ObjectId)>,
    bays: BTreeSet<ObjectId>,
    types: BTreeSet<&'static str>,
    users: BTreeSet<String>,
    requests: BTreeSet<String>,
    outcomes: Vec<Outcome>,
    /// The bays of containers that were asked for before; a container never changes its bay.
    remembered: Mutex<HashMap<ObjectId, Option<ObjectId>>>,
}

impl Filter {
    /// What the arguments of a request choose.
    pub fn of(state: &AppState, call: &Call) -> Result<Arc<Self>, ApiError> {
        let (project, audits) = (project(call)?, call.caller.may(Right::Audit));
        let is_of_service = project != call.ctx.project;
        let mut filter = Self { project, audits, is_of_service, ..Self::default() };
        let arguments = call.arguments(&FILTERS);
        if arguments.len() > MAX_VALUES {
            return Err(ApiError::BadRequest(format!(
                "There are {} filter values, at most {MAX_VALUES} are allowed; split the \
                 request.",
                arguments.len()
            )));
        }
        for (name, value) in arguments {
            filter.add(state, call, &name, value)?;
        }
        Ok(Arc::new(filter))
    }

    fn add(
        &mut self,
        state: &AppState,
        call: &Call,
        name: &str,
        value: String,
    ) -> Result<(), ApiError> {
        let bad = |reason: &str| ApiError::field(name, shown(&value), reason);
        match name {
            "kind" => {
                self.kinds.insert(kind(&value)?);
            }
            "bay" => {
                self.bays.insert(bay(state, call, &value)?);
            }
            "type" => {
                let known = codec::known_type(inward_type(&value));
                self.types.insert(known.ok_or_else(|| {
                    bad("There is no such event type; an example is container.started.")
                })?);
            }
            // One for all, chosen before.
            "project" => {}
            "user" if value.is_empty() => return Err(bad("Use the name of a user.")),
            "user" => {
                self.users.insert(value);
            }
            "request_id" => {
                if value.strip_prefix("req-").and_then(canonical_uuid).is_none() {
                    return Err(bad("Use the X-Openstack-Request-Id of a response: req-UUID."));
                }
                self.requests.insert(value);
            }
            "outcome" => {
                let known = Outcome::ALL.into_iter().find(|(name, _)| *name == value);
                let names = Outcome::ALL.map(|(name, _)| name).join(", ");
                let (_, outcome) = known.ok_or_else(|| bad(&format!("Use one of {names}.")))?;
                self.outcomes.push(outcome);
            }
            _ => {
                self.objects.insert(
                    object(&value)
                        .ok_or_else(|| bad("Use an object's uuid, or kind/UUID: bay/UUID."))?,
                );
            }
        }
        Ok(())
    }

    /// Whether an event is wanted.
    pub fn wants(&self, log: &dyn EventLog, event: &Recorded) -> bool {
        let (meta, name) = (&event.meta, event.event_type.as_str());
        meta.project == self.project
            && (self.audits || event.stream.kind != StreamKind::Audit)
            && has(&self.kinds, &event.stream.kind)
            && (self.objects.is_empty() || self.names(about(event)))
            && has(&self.types, name)
            && has(&self.users, meta.user.as_str())
            && has(&self.requests, meta.request_id.as_str())
            && (self.outcomes.is_empty() || self.outcomes.contains(&Outcome::of(name)))
            && (self.bays.is_empty() || self.is_in_bay(log, event))
    }

    /// Whether objects of a noun may be wanted.
    pub fn wants_kind(&self, kind: Kind) -> bool {
        has(&self.kinds, &kind.into())
    }

    /// Whether an object is wanted; `bay` is the one that it is a member of.
    pub fn wants_object(&self, stream: StreamId, bay: Option<ObjectId>) -> bool {
        let own = (stream.kind == Kind::Bay).then_some(stream.id);
        has(&self.kinds, &stream.kind)
            && self.names(stream)
            && (self.bays.is_empty() || bay.or(own).is_some_and(|bay| self.bays.contains(&bay)))
    }

    /// Whether an object is among those that were named, if any were.
    fn names(&self, StreamId { kind, id }: StreamId) -> bool {
        self.objects.is_empty()
            || self.objects.contains(&(None, id))
            || self.objects.contains(&(Some(kind), id))
    }

    /// Whose objects are wanted.
    pub const fn project(&self) -> &ProjectId {
        &self.project
    }

    /// What its reader must be allowed to do.
    pub fn needs(&self) -> &'static [Right] {
        match (self.audits, self.is_of_service) {
            (false, false) => &[Right::Read],
            (true, false) => &[Right::Read, Right::Audit],
            (false, true) => &[Right::Read, Right::ReadNodes],
            (true, true) => &[Right::Read, Right::Audit, Right::ReadNodes],
        }
    }

    /// Whether the bay itself or a container in it is what the event is about.
    fn is_in_bay(&self, log: &dyn EventLog, event: &Recorded) -> bool {
        let StreamId { kind, id } = about(event);
        let bay = match kind.noun() {
            Some(Kind::Bay) => Some(id),
            Some(Kind::Container) => self.bay_of(log, id),
            _ => None,
        };
        bay.is_some_and(|bay| self.bays.contains(&bay))
    }

    /// The bay of a container, also of one that is gone: its first event says it.
    fn bay_of(&self, log: &dyn EventLog, id: ObjectId) -> Option<ObjectId> {
        let remembered = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bay) = remembered().get(&id) {
            return *bay;
        }
        let stream = StreamId::new(Kind::Container, id);
        let first = log.read_stream(stream, Revision(0), 1).ok()?.pop()?;
        let bay = match first.decode::<ContainerEvent>() {
            Ok(ContainerEvent::CreateRequested(asked)) => Some(asked.bay_id),
            _ => None,
        };
        let mut remembered = remembered();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(id, bay);
        bay
    }
}

/// Whose events are wanted: the caller's, or the service's own, for those who may see its nodes.
fn project(call: &Call) -> Result<ProjectId, ApiError> {
    let own = &call.ctx.project;
    let mut wanted: Vec<String> =
        call.arguments(&["project"]).into_iter().map(|(_, value)| value).collect();
    wanted.dedup();
    let service = ProjectId::default();
    let bad = |value: &str, reason| ApiError::field("project", shown(value), reason);
    match wanted.as_slice() {
        [] => Ok(own.clone()),
        [value] if *value == own.0 => Ok(own.clone()),
        [value] if *value == service.0 && call.caller.may(Right::ReadNodes) => Ok(service),
        [value] => Err(bad(value, "Only events of your own project are shown.")),
        [value, ..] => Err(bad(value, "Use one project.")),
    }
}

/// The object that an event is about: its own, or the one that was audited.
fn about(event: &Recorded) -> StreamId {
    let audited = || {
        let audit = event.decode::<AuditEvent>().ok()?;
        let (kind, id) = object(audit.object()?)?;
        Some(StreamId::new(kind?, id))
    };
    let own = event.stream;
    if own.kind == StreamKind::Audit { audited().unwrap_or(own) } else { own }
}

/// Refuses arguments that choose single events where whole objects are asked for.
pub fn only_objects(call: &Call) -> Result<(), ApiError> {
    match call.arguments(&FILTERS).iter().find(|(name, _)| !OF_OBJECTS.contains(&&**name)) {
        None => Ok(()),
        Some((name, _)) => Err(ApiError::BadRequest(format!(
            "snapshot=1 sends whole objects, but {name}= selects single events. Use kind=, \
             object=, bay= or project= with it."
        ))),
    }
}

/// Whether a set wants a value.
fn has<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(set: &BTreeSet<K>, value: &Q) -> bool {
    set.is_empty() || set.contains(value)
}

/// A noun by its name or its collection's.
fn kind(name: &str) -> Result<StreamKind, ApiError> {
    StreamKind::named(name).ok_or_else(|| {
        ApiError::field("kind", shown(name), format!("Use {}.", StreamKind::choice()))
    })
}

/// `UUID` or `container/UUID`.
fn object(text: &str) -> Option<(Option<StreamKind>, ObjectId)> {
    match text.split_once('/') {
        None => Some((None, canonical_uuid(text)?)),
        Some((noun, id)) => Some((Some(kind(noun).ok()?), canonical_uuid(id)?)),
    }
}

/// A bay by its uuid, also one that is gone, or by the name that it has now.
fn bay(state: &AppState, call: &Call, ident: &str) -> Result<ObjectId, ApiError> {
    if let Some(id) = canonical_uuid(ident) {
        return Ok(id);
    }
    match read::find::<BayView>(state, call, ident) {
        Ok(view) => Ok(view.head.uuid),
        Err(ApiError::NotFound(..)) => {
            let reason = "There is no bay with this name; use the UUID of a deleted one.";
            Err(ApiError::field("bay", shown(ident), reason))
        }
        Err(error) => Err(error),
    }
}
