//! Filters of a reader: the arguments that select events, validated.
//!
//! Values of one argument are alternatives, different arguments must all match. Events of other
//! projects are shown to auditors of the installation alone. Not here: where to start (`start`).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::actors::naming::begun_in;
use crate::events::audit::AuditEvent;
use crate::events::cloudevent::{Outcome, inward_type};
use crate::events::log::EventLog;
use crate::events::{Recorded, codec};
use crate::http::edge::policy::Right;
use crate::http::edge::request::Call;
use crate::http::edge::state::AppState;
use crate::http::error::ApiError;
use crate::http::text::{canonical_uuid, shown};
use crate::ids::{Kind, ObjectId, ProjectId, Revision, StreamId, StreamKind};
use crate::projections::View;
use crate::projections::bay::BayView;
use crate::with_noun;

/// Arguments that choose events.
pub const FILTERS: [&str; 9] =
    ["kind", "object", "subject", "bay", "type", "project", "user", "request_id", "outcome"];

/// Those that choose objects, and with them all of their events.
const OF_OBJECTS: [&str; 5] = ["kind", "object", "subject", "bay", "project"];

/// The value of `project` for those of everybody.
const ALL_PROJECTS: &str = "all";

/// Values of all arguments together: the objects of a page on somebody's screen.
pub const MAX_VALUES: usize = 256;

/// Containers whose bay a filter remembers: some 200 KB.
const MAX_REMEMBERED: usize = 4096;

/// Which events a reader may see and wants to. Empty sets want everything.
#[derive(Debug, Default)]
pub struct Filter {
    /// None: all projects.
    project: Option<ProjectId>,
    /// Whether what was audited is shown.
    audits: bool,
    /// What its reader must be allowed to do.
    needs: Vec<Right>,
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
        let (project, right) = project(call)?;
        let audits = call.caller.may(Right::Audit);
        let audit = audits.then_some(Right::Audit);
        let needs = [Right::Read].into_iter().chain(audit).chain(right).collect();
        let mut filter = Self { project, audits, needs, ..Self::default() };
        let arguments = call.arguments(&FILTERS);
        if arguments.len() > MAX_VALUES {
            return Err(ApiError::BadRequest(format!(
                "There are {} filter values, at most {MAX_VALUES} are allowed; split the \
                 request.",
                arguments.len()
            )));
        }
        for (name, value) in arguments {
            filter.add(state, &name, value)?;
        }
        Ok(Arc::new(filter))
    }

    fn add(&mut self, state: &AppState, name: &str, value: String) -> Result<(), ApiError> {
        let bad = |reason: &str| ApiError::field(name, shown(&value), reason);
        match name {
            "kind" => {
                self.kinds.insert(kind(&value)?);
            }
            "bay" => {
                self.bays.insert(self.bay(state, &value)?);
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
                let objects = match object(&value) {
                    Some(object) => vec![object],
                    None => self.named(state, name, &value)?,
                };
                self.objects.extend(objects);
            }
        }
        Ok(())
    }

    /// Whether an event is wanted.
    pub fn wants(&self, log: &dyn EventLog, event: &Recorded) -> bool {
        let (meta, name) = (&event.meta, event.event_type.as_str());
        self.project.as_ref().is_none_or(|project| meta.project == *project)
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

    /// Whose objects are wanted, where objects may be ([`only_objects`]).
    pub fn project(&self) -> ProjectId {
        self.project.clone().unwrap_or_default()
    }

    /// What its reader must be allowed to do.
    pub fn needs(&self) -> &[Right] {
        &self.needs
    }

    /// The objects that have a name now: `web`, `container/web`.
    fn named(
        &self,
        state: &AppState,
        argument: &str,
        value: &str,
    ) -> Result<Vec<(Option<StreamKind>, ObjectId)>, ApiError> {
        let (kinds, name) = match value.split_once('/') {
            Some((noun, name)) => {
                let kind = StreamKind::named(noun).and_then(StreamKind::noun);
                (kind.map_or_else(Vec::new, |kind| vec![kind]), name)
            }
            None => (Kind::ALL.to_vec(), value),
        };
        let mut found = Vec::new();
        for kind in kinds {
            let id = with_noun!(kind, view V => self.find::<V>(state, argument, name))?;
            found.extend(id.map(|id| (Some(kind.into()), id)));
        }
        if found.is_empty() {
            let reason = "Use an object's uuid, its name, or kind/ and either: container/web. \
                Deleted objects are found by UUID.";
            return Err(ApiError::field(argument, shown(value), reason));
        }
        Ok(found)
    }

    /// The object of a noun with a name now, in the project whose events are wanted.
    fn find<V: View>(
        &self,
        state: &AppState,
        argument: &str,
        name: &str,
    ) -> Result<Option<ObjectId>, ApiError> {
        let Some(project) = &self.project else {
            let reason = "Names are not unique over all projects: use a UUID.";
            return Err(ApiError::field(argument, shown(name), reason));
        };
        match state.reads.find::<V>(project, name) {
            Ok(view) => Ok(Some(view.head().uuid)),
            Err(error) => match ApiError::query(V::KIND, name, error) {
                ApiError::NotFound(..) => Ok(None),
                error => Err(error),
            },
        }
    }

    /// A bay by its uuid, also one that is gone, or by the name that it has now.
    fn bay(&self, state: &AppState, ident: &str) -> Result<ObjectId, ApiError> {
        if let Some(id) = canonical_uuid(ident) {
            return Ok(id);
        }
        self.find::<BayView>(state, "bay", ident)?.ok_or_else(|| {
            let reason = "There is no bay with this name; use the UUID of a deleted one.";
            ApiError::field("bay", shown(ident), reason)
        })
    }

    /// Whether the bay itself or something in it is what the event is about.
    fn is_in_bay(&self, log: &dyn EventLog, event: &Recorded) -> bool {
        let StreamId { kind, id } = about(event);
        let bay = match kind.noun() {
            Some(Kind::Bay) => Some(id),
            Some(_) => self.bay_of(log, StreamId { kind, id }),
            None => None,
        };
        bay.is_some_and(|bay| self.bays.contains(&bay))
    }

    /// The bay of what is in one, also of what is gone: its first event says it.
    fn bay_of(&self, log: &dyn EventLog, stream: StreamId) -> Option<ObjectId> {
        let remembered = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bay) = remembered().get(&stream.id) {
            return *bay;
        }
        let first = log.read_stream(stream, Revision(0), 1).ok()?.pop()?;
        let bay = begun_in(&first);
        let mut remembered = remembered();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(stream.id, bay);
        bay
    }
}

/// Whose events are wanted, and the right that it takes besides: the caller's; the service's own,
/// for those who may see its nodes; or for auditors any, or all.
fn project(call: &Call) -> Result<(Option<ProjectId>, Option<Right>), ApiError> {
    let own = &call.ctx.project;
    let mut wanted: Vec<String> =
        call.arguments(&["project"]).into_iter().map(|(_, value)| value).collect();
    wanted.dedup();
    let service = ProjectId::default();
    let bad = |value: &str, reason| ApiError::field("project", shown(value), reason);
    match wanted.as_slice() {
        [] => Ok((Some(own.clone()), None)),
        [value] if *value == own.0 => Ok((Some(own.clone()), None)),
        [value] if *value == service.0 && call.caller.may(Right::ReadNodes) => {
            Ok((Some(service), Some(Right::ReadNodes)))
        }
        [value] if value.is_empty() => Err(bad(value, "Name a project.")),
        [value] if call.caller.may(Right::AuditAll) => {
            let project = (value != ALL_PROJECTS).then(|| ProjectId(value.clone()));
            Ok((project, Some(Right::AuditAll)))
        }
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

/// Refuses arguments that choose single events where whole objects are asked for, and objects of
/// projects of which only the events may be seen.
pub fn only_objects(call: &Call, filter: &Filter) -> Result<(), ApiError> {
    if filter.needs.contains(&Right::AuditAll) {
        return Err(ApiError::BadRequest(
            "snapshot=1 sends objects, and of other projects only events are shown.".to_owned(),
        ));
    }
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

#[cfg(test)]
impl Filter {
    /// All events of a project.
    pub fn of_project(project: &str) -> Self {
        let project = Some(ProjectId(project.to_owned()));
        Self { project, audits: true, ..Self::default() }
    }
}
