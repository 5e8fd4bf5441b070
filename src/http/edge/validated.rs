//! What Keystone says of a token, checked before anybody relies on it: its size, the end of the
//! token, and the names that become part of events and of files.
//!
//! Not here: how it is asked (`keystone`).

use reqwest::Response;
use serde::Deserialize;

use super::access_rules::{AccessRule, MAX_RULES};
use super::identity::{Identity, is_id};
use crate::clock;
use crate::config::AdminProject;
use crate::credentials::cause;
use crate::ids::{ProjectId, Timestamp};
use crate::text;

/// Largest answer: hundreds of times what Keystone says of a token without the catalogue.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Longest name of a role, in bytes: Keystone's own column.
const MAX_ROLE_BYTES: usize = 255;

/// Roles of one user in one project: several times what an installation defines.
const MAX_ROLES: usize = 128;

/// What Keystone says of a token.
#[derive(Deserialize)]
struct Validated {
    token: Valid,
}

#[derive(Deserialize)]
struct Valid {
    user: User,
    project: Option<Project>,
    #[serde(default)]
    roles: Vec<Role>,
    expires_at: Option<Timestamp>,
    application_credential: Option<ApplicationCredential>,
}

#[derive(Deserialize)]
struct ApplicationCredential {
    access_rules: Option<Vec<AccessRule>>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    domain: Domain,
}

#[derive(Default, Deserialize)]
struct Domain {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

/// Why an answer is no use.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not what Keystone answers; in words.
    Answer(String),
    /// It says of the token what cannot be: that one is refused.
    Token(&'static str),
}

/// Whose token an answer says it is.
///
/// # Errors
/// Where nobody should rely on it.
pub async fn identity(response: Response, admin: &AdminProject) -> Result<Identity, Unusable> {
    let body = body(response).await.map_err(Unusable::Answer)?;
    let answer: Validated = serde_json::from_slice(&body)
        .map_err(|error| format!("it answered what it should not: {error}"))
        // It has what was answered in it.
        .map_err(|words| Unusable::Answer(text::words(&words)))?;
    checked(answer.token, admin).map_err(Unusable::Token)
}

/// The whole body, if it is not too large.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| cause(&error))? {
        if body.len().saturating_add(piece.len()) > MAX_ANSWER_BYTES {
            return Err(format!("its answer is larger than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn checked(valid: Valid, admin: &AdminProject) -> Result<Identity, &'static str> {
    let expires_at = valid.expires_at.ok_or("it has no expires_at")?;
    if expires_at <= clock::now() {
        return Err("its expires_at is in the past: compare the clocks of the machines");
    }
    if !is_id(&valid.user.id) {
        return Err("the id of its user is empty, too long, or has a slash or hidden characters");
    }
    let ids = valid.project.iter().map(|project| &project.id);
    if !ids.into_iter().all(|id| is_id(id)) {
        return Err("the id of its project is empty, too long, or has a slash or hidden \
                    characters");
    }
    let is_role = |name: &String| {
        (1..=MAX_ROLE_BYTES).contains(&name.len()) && !name.chars().any(text::is_hidden)
    };
    let roles: Vec<String> = valid.roles.into_iter().map(|role| role.name).collect();
    if roles.len() > MAX_ROLES || !roles.iter().all(is_role) {
        return Err("it has too many roles, or one whose name cannot be one");
    }
    let access_rules = valid.application_credential.and_then(|it| it.access_rules);
    let mut rules = access_rules.iter().flatten();
    if access_rules.as_ref().is_some_and(|it| it.len() > MAX_RULES)
        || !rules.all(AccessRule::is_sound)
    {
        return Err(
            "its application credential has too many access rules, or one with too long a \
                    path",
        );
    }
    let in_admin_project = valid.project.as_ref().is_some_and(|project| project.is(admin));
    // The service's own project does not belong to a tenant: Keystone has a domain of this name,
    // which can be made to pass for a project.
    let project = valid.project.map(|project| ProjectId(project.id));
    let project = project.filter(|project| *project != ProjectId::default());
    let user = valid.user.id;
    Ok(Identity { user, project, in_admin_project, roles, expires_at, access_rules })
}

impl Project {
    /// Whether it is that of the operators. A name is unique in its domain only.
    fn is(&self, admin: &AdminProject) -> bool {
        let in_domain = [&self.domain.name, &self.domain.id].contains(&&admin.domain);
        self.id == admin.project || (self.name == admin.project && in_domain)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admin() -> AdminProject {
        AdminProject { project: "admin".to_owned(), domain: "Default".to_owned() }
    }

    fn token() -> Value {
        json!({
            "user": { "id": "u" },
            "project": { "id": "p", "name": "n", "domain": { "id": "d", "name": "D" } },
            "roles": [{ "name": "admin" }],
            "expires_at": "2999-11-28T22:34:27.000000Z",
        })
    }

    /// What is said of a token with a field that is other than usual.
    fn with(pointer: &str, value: Value) -> Result<Identity, &'static str> {
        let mut token = token();
        *token.pointer_mut(pointer).unwrap() = value;
        checked(serde_json::from_value(token).unwrap(), &admin())
    }

    #[test]
    fn a_token_without_a_future_is_refused() {
        assert!(with("/expires_at", json!("2999-01-01T00:00:00Z")).is_ok());
        assert!(with("/expires_at", json!("2001-01-01T00:00:00Z")).is_err());
        assert!(with("/expires_at", Value::Null).is_err());
        let mut token = token();
        token.as_object_mut().unwrap().remove("expires_at");
        assert!(checked(serde_json::from_value(token).unwrap(), &admin()).is_err());
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        for id in ["", "a/b", "../x", "a\nb", "a\u{0}", &"x".repeat(100_000)] {
            assert!(with("/project/id", json!(id)).is_err(), "project {id:.9?}");
            assert!(with("/user/id", json!(id)).is_err(), "user {id:.9?}");
        }
        for name in ["", "a\nb", &"x".repeat(MAX_ROLE_BYTES + 1)] {
            assert!(with("/roles/0/name", json!(name)).is_err(), "role {name:.9?}");
        }
        assert!(with("/roles", json!(vec![json!({ "name": "r" }); MAX_ROLES + 1])).is_err());
    }

    #[test]
    fn access_rules_come_with_the_token_and_are_bounded() {
        let rules = |rules: Value| {
            let mut token = token();
            token["application_credential"] = json!({ "id": "c", "access_rules": rules });
            checked(serde_json::from_value(token).unwrap(), &admin())
        };
        let rule = |path: &str| json!({ "id": "r", "service": "s", "method": "GET", "path": path });
        assert_eq!(rules(Value::Null).unwrap().access_rules, None);
        assert_eq!(rules(json!([])).unwrap().access_rules, Some(vec![]), "for no request");
        assert_eq!(rules(json!([rule("/v1")])).unwrap().access_rules.unwrap().len(), 1);
        assert!(rules(json!(vec![rule("/v1"); MAX_RULES + 1])).is_err());
        assert!(rules(json!([rule(&"x".repeat(129))])).is_err());
    }

    #[test]
    fn no_token_is_for_the_project_of_the_service() {
        let project = |id: &str| with("/project/id", json!(id)).unwrap().project;
        assert_eq!(project("p"), Some(ProjectId("p".to_owned())));
        assert_eq!(project("default"), None);
        assert_eq!(with("/project", Value::Null).unwrap().project, None, "for a user alone");
    }

    #[test]
    fn the_operators_project_is_known_by_its_id_or_by_name_and_domain() {
        let is = |id: &str, name: &str, domain: &str| {
            let domain = json!({ "id": domain, "name": domain.to_uppercase() });
            let project = json!({ "id": id, "name": name, "domain": domain });
            let admin = AdminProject { project: "admin".to_owned(), domain: "d".to_owned() };
            serde_json::from_value::<Project>(project).unwrap().is(&admin)
        };
        assert!(is("p", "admin", "d") && is("admin", "other", "e"));
        assert!(!is("p", "admin", "e"), "anybody may name a project so in a domain of their own");
        assert!(!is("p", "other", "d"));
        assert!(!with("/project/name", json!("admin")).unwrap().in_admin_project);
    }
}
