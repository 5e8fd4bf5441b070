//! Who may do what: the one table of actions, the roles that may, and the requests that need them.
//!
//! The check of each request, the table in `docs/operations.md` and the tests are made of it. A
//! route without a row is not served. Not here: who asks, and in which project (`auth`).

use std::fmt::Write as _;

use axum::http::Method;

use super::identity::Identity;
use crate::ids::Kind;

/// A role that the table knows. Others are recorded with events and allow nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks.
    Reader,
    /// Changes what is of the project.
    Member,
    /// The same.
    Manager,
    /// Looks after the project.
    Admin,
    /// Looks after the installation: `admin` in the operators' project.
    Operator,
    /// Audits the installation: whoever has [`Right::Audit`] in the operators' project.
    Auditor,
}

impl Role {
    /// All, with their names.
    const ALL: [(Self, &'static str); 6] = [
        (Self::Reader, "reader"),
        (Self::Member, "member"),
        (Self::Manager, "manager"),
        (Self::Admin, "admin"),
        (Self::Operator, "operator"),
        (Self::Auditor, "auditor"),
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some roles, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roles(u8);

impl Roles {
    const fn of(roles: &[Role]) -> Self {
        let (mut bits, mut rest) = (0, roles);
        while let [role, others @ ..] = rest {
            bits |= role.bit();
            rest = others;
        }
        Self(bits)
    }

    /// The names of those that are among these.
    fn names(self) -> Vec<&'static str> {
        let among = Role::ALL.iter().filter(|(role, _)| self.0 & role.bit() != 0);
        among.map(|(_, name)| *name).collect()
    }
}

/// The right to an action: what is allowed or not, as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To look at what is of the project.
    Read,
    /// To change it.
    Change,
    /// To execute commands in containers, and to end them.
    Execute,
    /// To read what containers wrote.
    Logs,
    /// To read what was audited.
    Audit,
    /// To read the events of all projects, the service's own among them.
    AuditAll,
    /// To erase the project's key.
    EraseKey,
    /// To look at the nodes, and at the service's own events.
    ReadNodes,
    /// To change nodes.
    ChangeNodes,
    /// To have the read models compared with the log of all projects.
    Verify,
}

/// Everybody who may look at a project.
const LOOK: Roles = Roles::of(&[Role::Reader, Role::Member, Role::Manager, Role::Admin]);
/// Everybody who works in it. What was audited names people and what they were refused, and
/// containers' commands may hold secrets: for those who share the work, not for onlookers.
const WORK: Roles = Roles::of(&[Role::Member, Role::Manager, Role::Admin]);
const RULE: Roles = Roles::of(&[Role::Admin]);
const OPERATE: Roles = Roles::of(&[Role::Operator]);
const AUDIT: Roles = Roles::of(&[Role::Auditor]);
/// Roles that only the operators' project has.
const OF_OPERATORS: Roles = Roles::of(&[Role::Operator, Role::Auditor]);

/// Each action: its name, who may unless `--policy` says otherwise, and what it covers.
#[rustfmt::skip]
const ACTIONS: [(Right, &str, Roles, &str); 10] = [
    (Right::Read, "object:read", LOOK,
        "objects, histories, events, streams, traces, the debugger"),
    (Right::Change, "object:change", WORK,
        "create, change and delete bays, baymodels and containers; start, stop and signal containers"),
    (Right::Execute, "container:execute", WORK,
        "execute commands in containers and pods, end them, and get what they wrote"),
    (Right::Logs, "container:logs", LOOK,
        "the output of containers"),
    (Right::Audit, "events:audit", WORK,
        "`audit.*` events; who may not does not see them among the others"),
    (Right::AuditAll, "events:all", AUDIT,
        "the events of all projects, nodes' among them, with `project=all` or `project=ID`; for others \
        there are those of their own"),
    (Right::EraseKey, "key:erase", RULE,
        "erase the project's key"),
    (Right::ReadNodes, "node:read", OPERATE,
        "see nodes, and the service's own events with `project=default`; for others there are none"),
    (Right::ChangeNodes, "node:change", OPERATE,
        "create, change and delete nodes"),
    (Right::Verify, "replay:verify", OPERATE,
        "compare the read models of all projects with the log"),
];

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: not even a token.
    Nothing,
    /// The right to an action.
    To(Right),
}

/// What each request needs: the first row that fits holds. `{all}` stands for each collection.
#[rustfmt::skip]
const REQUESTS: [(&str, &str, Need); 59] = {
    use Right::{Change, ChangeNodes, EraseKey, Execute, Logs, Read, Verify};
    use Need::{Nothing, To};
    [
        ("GET", "/", Nothing),
        ("GET", "/healthz", Nothing),
        ("GET", "/readyz", Nothing),
        ("GET", "/metrics", Nothing),
        // Where nobody is asked who they are; elsewhere they do not exist.
        ("GET", "/v2.0", Nothing),
        ("POST", "/v2.0/tokens", Nothing),
        ("GET", "/v3", Nothing),
        ("POST", "/v3/auth/tokens", Nothing),
        ("GET", "/v1", To(Read)),
        ("GET", "/v1/openapi.json", To(Read)),
        // Nodes are the service's. To look is not refused: others than operators have none to see.
        ("POST", "/v1/nodes", To(ChangeNodes)),
        ("PATCH", "/v1/nodes/{ident}", To(ChangeNodes)),
        ("DELETE", "/v1/nodes/{ident}", To(ChangeNodes)),
        ("GET", "/v1/{all}", To(Read)),
        ("POST", "/v1/{all}", To(Change)),
        ("GET", "/v1/{all}/detail", To(Read)),
        ("GET", "/v1/{all}/{ident}", To(Read)),
        ("PATCH", "/v1/{all}/{ident}", To(Change)),
        ("DELETE", "/v1/{all}/{ident}", To(Change)),
        ("GET", "/v1/{all}/{ident}/history", To(Read)),
        ("GET", "/v1/{all}/{ident}/state", To(Read)),
        ("GET", "/v1/{all}/{ident}/timeline", To(Read)),
        ("GET", "/v1/{all}/{ident}/diff", To(Read)),
        ("GET", "/v1/{all}/{ident}/blame", To(Read)),
        ("GET", "/v1/{all}/{ident}/why", To(Read)),
        ("GET", "/v1/{all}/{ident}/what-if", To(Read)),
        ("GET", "/v1/{all}/{ident}/bundle", To(Read)),
        ("PUT", "/v1/containers/{ident}/start", To(Change)),
        ("PUT", "/v1/containers/{ident}/stop", To(Change)),
        ("PUT", "/v1/containers/{ident}/reboot", To(Change)),
        ("PUT", "/v1/containers/{ident}/pause", To(Change)),
        ("PUT", "/v1/containers/{ident}/unpause", To(Change)),
        ("PUT", "/v1/containers/{ident}/recreate", To(Change)),
        ("PUT", "/v1/containers/{ident}/kill", To(Change)),
        ("PUT", "/v1/containers/{ident}/execute", To(Execute)),
        ("GET", "/v1/containers/{ident}/executions", To(Read)),
        ("GET", "/v1/containers/{ident}/executions/{id}", To(Read)),
        ("GET", "/v1/containers/{ident}/executions/{id}/output", To(Execute)),
        ("DELETE", "/v1/containers/{ident}/executions/{id}", To(Execute)),
        ("GET", "/v1/containers/{ident}/logs", To(Logs)),
        ("PUT", "/v1/pods/{ident}/execute", To(Execute)),
        ("GET", "/v1/pods/{ident}/executions", To(Read)),
        ("GET", "/v1/pods/{ident}/executions/{id}", To(Read)),
        ("GET", "/v1/pods/{ident}/executions/{id}/output", To(Execute)),
        ("DELETE", "/v1/pods/{ident}/executions/{id}", To(Execute)),
        ("GET", "/v1/pods/{ident}/logs", To(Logs)),
        ("GET", "/v1/events", To(Read)),
        ("GET", "/v1/events/stream", To(Read)),
        ("GET", "/v1/keys", To(Read)),
        ("DELETE", "/v1/keys/{ident}", To(EraseKey)),
        ("POST", "/v1/session", To(Read)),
        ("GET", "/v1/session", To(Read)),
        ("DELETE", "/v1/session", To(Read)),
        ("GET", "/v1/schemas/events", To(Read)),
        ("GET", "/v1/schemas/events/{file}", To(Read)),
        ("GET", "/v1/replay/find", To(Read)),
        ("GET", "/v1/replay/diff", To(Read)),
        // Tells of the objects of all projects.
        ("GET", "/v1/replay/verify", To(Verify)),
        ("GET", "/v1/trace/{ident}", To(Read)),
    ]
};

/// What a request to a route needs; `None` where the table has no row for it.
pub fn row(method: &str, route: &str) -> Option<Need> {
    let asked = if method == "HEAD" { "GET" } else { method };
    let fits = |(method, path, _): &&(&str, &str, Need)| *method == asked && is_at(path, route);
    REQUESTS.iter().find(fits).map(|(.., need)| *need)
}

/// The requests that the table has rows for.
#[cfg(test)]
pub fn requests() -> impl Iterator<Item = (&'static str, &'static str)> {
    REQUESTS.into_iter().map(|(method, path, _)| (method, path))
}

/// Whether a path of the table stands for a route.
pub fn is_at(path: &str, route: &str) -> bool {
    let Some(verb) = path.strip_prefix("/v1/{all}") else { return path == route };
    let named = route.strip_prefix("/v1/").and_then(|route| route.strip_suffix(verb));
    named.is_some_and(|named| Kind::ALL.iter().any(|kind| kind.collection() == named))
}

/// What a request needs. Nothing is served without a row; to hear that needs what looking and
/// changing do. Which methods a path has is in the public document.
pub fn need(method: &Method, route: &str) -> Need {
    if method == Method::OPTIONS {
        return Need::Nothing;
    }
    let unserved = if method.is_safe() { Right::Read } else { Right::Change };
    row(method.as_str(), route).unwrap_or(Need::To(unserved))
}

/// Whether a path is for everybody who looks.
pub fn is_public(path: &str) -> bool {
    row("GET", path) == Some(Need::Nothing)
}

/// The actions that somebody may do, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// Of those whom nobody asks who they are.
    pub const ALL: Self = Self(u16::MAX);

    /// Whether an action is among them.
    pub const fn has(self, action: Right) -> bool {
        self.0 & (1 << action as u16) != 0
    }
}

/// The table of an installation: the defaults, and what `--policy` changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(Vec<(Right, &'static str, Roles)>);

impl Policy {
    /// With rows such as `container:logs=member,admin` in place of the defaults.
    ///
    /// # Errors
    /// In words, where one names what there is not.
    pub fn new(changed: &[String]) -> Result<Self, String> {
        let mut rows: Vec<_> = ACTIONS.map(|(action, name, roles, _)| (action, name, roles)).into();
        for text in changed {
            let refused = |why: String| format!("--policy {text}: {why}");
            let (name, roles) = text
                .split_once('=')
                .ok_or_else(|| refused("use ACTION=ROLE,ROLE or ACTION=none".to_owned()))?;
            let row = rows.iter_mut().find(|(_, known, _)| *known == name).ok_or_else(|| {
                let names = ACTIONS.map(|(_, name, ..)| name).join(", ");
                refused(format!("there is no action {name:?}; use one of {names}"))
            })?;
            row.2 = roles_named(roles).map_err(refused)?;
        }
        Ok(Self(rows))
    }

    /// What somebody may do.
    pub fn rights(&self, identity: &Identity) -> Rights {
        let is_one = |name| identity.roles.iter().any(|role| role == name);
        let holds = |role, name| match role {
            Role::Operator => identity.in_admin_project && is_one("admin"),
            // Follows from the others.
            Role::Auditor => false,
            _ => is_one(name),
        };
        let held = Role::ALL.iter().filter(|(role, name)| holds(*role, name));
        let mut held = held.fold(0, |bits, (role, _)| bits | role.bit());
        let audits = self.0.iter().find(|(right, ..)| *right == Right::Audit);
        if identity.in_admin_project && audits.is_some_and(|(.., roles)| roles.0 & held != 0) {
            held |= Role::Auditor.bit();
        }
        let allowed = self.0.iter().filter(|(.., roles)| roles.0 & held != 0);
        Rights(allowed.fold(0, |bits, (action, ..)| bits | 1 << *action as u16))
    }

    /// The words of a refusal of an action to somebody with these roles.
    pub fn refusal(&self, action: Right, roles: &[String]) -> String {
        let row = self.0.iter().find(|(known, ..)| *known == action);
        let (name, wanted) = row.map_or(("", Roles(0)), |(_, name, wanted)| (*name, *wanted));
        let in_project = Roles(wanted.0 & !OF_OPERATORS.0).names();
        let wanted = match (in_project.is_empty(), wanted == Roles(0)) {
            (_, true) => return format!("This service allows {name} to nobody."),
            (true, _) if wanted.0 & OPERATE.0 == 0 => {
                "member or admin in the project of the operators".to_owned()
            }
            (true, _) => "admin in the project of the operators".to_owned(),
            (false, _) => format!("{} in the project", in_project.join(" or ")),
        };
        let roles = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
        format!("This needs the role {wanted}; the token has {roles}.")
    }
}

fn roles_named(text: &str) -> Result<Roles, String> {
    let mut roles = Roles(0);
    for name in text.split(',').map(str::trim).filter(|_| text != "none") {
        let known = Role::ALL.iter().find(|(_, known)| *known == name);
        let (role, _) = known.ok_or_else(|| {
            let names = Role::ALL.map(|(_, name)| name).join(", ");
            format!("there is no role {name:?}; use some of {names}, or none")
        })?;
        roles.0 |= role.bit();
    }
    Ok(roles)
}

/// The table of the actions, as `docs/operations.md` has it.
pub fn document() -> String {
    let mut text = "| Action | Roles | Covers |\n|---|---|---|\n".to_owned();
    for (_, name, roles, covers) in ACTIONS {
        let roles: Vec<String> =
            roles.names().into_iter().map(|name| format!("`{name}`")).collect();
        let roles = roles.join(", ");
        let _infallible = writeln!(text, "| `{name}` | {roles} | {covers} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Timestamp;

    fn identity(roles: &[&str], in_admin_project: bool) -> Identity {
        Identity {
            user: "u".to_owned(),
            project: None,
            in_admin_project,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            expires_at: Timestamp::default(),
            access_rules: None,
        }
    }

    /// The actions that somebody may do, by name.
    fn allowed(policy: &Policy, roles: &[&str], in_admin_project: bool) -> Vec<&'static str> {
        let rights = policy.rights(&identity(roles, in_admin_project));
        let allowed = ACTIONS.iter().filter(|(action, ..)| rights.has(*action));
        allowed.map(|(_, name, ..)| *name).collect()
    }

    fn policy(changed: &[&str]) -> Result<Policy, String> {
        Policy::new(&changed.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn each_role_has_the_rights_of_its_rows() {
        let usual = policy(&[]).unwrap();
        let reader = ["object:read", "container:logs"];
        let member =
            ["object:read", "object:change", "container:execute", "container:logs", "events:audit"];
        let admin = [&member[..], &["key:erase"]].concat();
        let auditor = [&member[..], &["events:all"]].concat();
        let operator =
            [&auditor[..], &["key:erase", "node:read", "node:change", "replay:verify"]].concat();
        for in_admin_project in [false, true] {
            let allowed = |roles: &[&str]| allowed(&usual, roles, in_admin_project);
            assert!(allowed(&[]).is_empty() && allowed(&["service", "ADMIN", ""]).is_empty());
            for name in ["operator", "auditor"] {
                assert!(allowed(&[name]).is_empty(), "a role of that name is none of these");
            }
            assert_eq!(allowed(&["reader"]), reader);
            let works = if in_admin_project { &auditor } else { &member.to_vec() };
            assert_eq!(allowed(&["x", "member"]), *works);
            assert_eq!(allowed(&["manager"]), *works);
            let wanted = if in_admin_project { &operator } else { &admin };
            assert_eq!(allowed(&["admin"]), *wanted);
        }
    }

    #[test]
    fn a_row_can_be_changed_and_nothing_else_with_it() {
        let changed = policy(&["container:logs=member, admin", "key:erase=none"]).unwrap();
        assert_eq!(allowed(&changed, &["reader"], false), ["object:read"]);
        assert!(allowed(&changed, &["member"], false).contains(&"container:logs"));
        assert!(!allowed(&changed, &["manager"], false).contains(&"container:logs"));
        assert!(!allowed(&changed, &["admin"], true).contains(&"key:erase"));
        // Who audits the operators' project audits all, and nobody else does.
        let readers = policy(&["events:audit=reader"]).unwrap();
        let audits =
            |role, at_operators| allowed(&readers, &[role], at_operators).contains(&"events:all");
        assert!(audits("reader", true) && !audits("reader", false) && !audits("member", true));
        let nobody = policy(&["events:all=none"]).unwrap();
        assert!(!allowed(&nobody, &["admin"], true).contains(&"events:all"));
        let words = changed.refusal(Right::Logs, &["reader".to_owned()]);
        assert_eq!(
            words,
            "This needs the role member or admin in the project; the token has reader."
        );
        assert!(changed.refusal(Right::EraseKey, &[]).contains("to nobody"));
        let verify = changed.refusal(Right::Verify, &[]);
        assert!(verify.contains("admin in the project of the operators"), "{verify}");
    }

    #[test]
    fn rows_that_name_what_there_is_not_are_refused() {
        for (row, words) in [
            ("container:logs", "ACTION=ROLE"),
            ("logs=member", "no action"),
            ("=member", "no action"),
            ("container:logs=", "no role"),
            ("container:logs=member,", "no role"),
            ("container:logs=members", "no role"),
            ("container:logs=none,member", "no role"),
        ] {
            let refused = policy(&[row]).unwrap_err();
            assert!(refused.contains(words) && refused.contains(row), "{refused}");
        }
    }

    #[test]
    fn what_has_no_row_is_for_nobody_whom_nobody_knows() {
        assert_eq!(need(&Method::GET, ""), Need::To(Right::Read));
        assert_eq!(need(&Method::POST, "/v1/new"), Need::To(Right::Change));
        assert_eq!(row("GET", "/v1/containers/{ident}/new"), None);
        assert_eq!(row("POST", "/v1/containers/{ident}/logs"), None);
        assert_eq!(row("HEAD", "/healthz"), Some(Need::Nothing));
        assert_eq!(row("GET", "/v1/containers/{ident}/logs"), Some(Need::To(Right::Logs)));
        assert_eq!(row("DELETE", "/v1/nodes/{ident}"), Some(Need::To(Right::ChangeNodes)));
        assert_eq!(row("DELETE", "/v1/bays/{ident}"), Some(Need::To(Right::Change)));
    }

    #[test]
    fn each_action_has_a_row_of_its_own() {
        let rights: Vec<u16> = ACTIONS.iter().map(|(action, ..)| 1 << *action as u16).collect();
        let all = rights.iter().fold(0, |bits, bit| bits | bit);
        assert_eq!(all.count_ones() as usize, ACTIONS.len());
    }
}
