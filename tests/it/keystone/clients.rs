//! Clients that get their tokens from Keystone by themselves: the `magnum` command and the real
//! python-magnumclient 2.1.0.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::real::{PASSWORD, User, keystone};
use super::{as_user, container};
use crate::harness::{Server, python, run};
use crate::requests::baymodel;

/// The `magnum` of this repository against a server, with nothing said about who asks.
pub fn magnum(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OS_")) {
        command.env_remove(name);
    }
    command.args(args).env("MAGNUM_URL", server.url());
    command
}

/// What a user sets.
pub fn variables(user: &User) -> Vec<(&'static str, String)> {
    vec![
        ("OS_AUTH_URL", format!("{}/v3", keystone().url())),
        ("OS_USERNAME", user.name.clone()),
        ("OS_PASSWORD", PASSWORD.to_owned()),
        ("OS_PROJECT_NAME", user.project.clone()),
        ("OS_USER_DOMAIN_NAME", "Default".to_owned()),
        ("OS_PROJECT_DOMAIN_NAME", "Default".to_owned()),
    ]
}

#[test]
fn the_command_gets_its_token_from_keystone() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["member"]);
    let create = ["baymodel-create", "--name", "mine", "--coe", "docker", "--image-id", "i"];
    let create = [&create[..], &["--keypair-id", "k", "--external-network-id", "n"]].concat();
    let done = run(magnum(&server, &create).envs(variables(&user)));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(as_user(&server, &user).get("/v1/baymodels/mine").status == 200);
    let list = ["baymodel-list"];
    let without_project = || {
        let mut variables = variables(&user);
        variables.retain(|(name, _)| *name != "OS_PROJECT_NAME");
        variables
    };
    let old = [("OS_TENANT_NAME", user.project.clone())];
    let typed = ["baymodel-list", "--os-project-name", &user.project];
    let token = [("OS_TOKEN", keystone().token(&user))];
    let credential = application_credential(&user);
    let url = [("OS_AUTH_URL", keystone().url().to_owned())];
    for command in [
        magnum(&server, &list).envs(without_project()).envs(old),
        magnum(&server, &typed).envs(without_project()),
        magnum(&server, &list).envs(token.clone()),
        magnum(&server, &list).envs(credential).envs(url),
    ] {
        let done = run(command);
        assert!(done.code == 0 && done.out.contains("mine"), "{done:?}");
    }
    let shown = run(magnum(&server, &["--debug", "bay-list"]).envs(token.clone()));
    assert!(shown.err.contains("x-auth-token: ***"), "{shown:?}");
    assert!(!shown.err.contains(&token[0].1), "{shown:?}");
}

/// An application credential of somebody, as its variables.
fn application_credential(user: &User) -> [(&'static str, String); 2] {
    let body = serde_json::json!({ "application_credential": { "name": "a" } });
    let own = keystone().admin().with_token(&keystone().token(user));
    let path = format!("/v3/users/{}/application_credentials", user.id);
    let made = own.post(&path, &body).expect(201);
    let field = |name: &str| made["application_credential"][name].as_str().unwrap().to_owned();
    [
        ("OS_APPLICATION_CREDENTIAL_ID", field("id")),
        ("OS_APPLICATION_CREDENTIAL_SECRET", field("secret")),
    ]
}

#[test]
fn the_command_says_what_is_missing() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["reader"]);
    let nobody = run(&mut magnum(&server, &["bay-list"]));
    assert_eq!(nobody.code, 1);
    let words = "this server requires authentication: set OS_AUTH_URL";
    assert!(nobody.err.contains(words) && nobody.err.contains("401"), "{nobody:?}");
    let bad = run(magnum(&server, &["bay-list"]).env("OS_TOKEN", "bogus"));
    assert!(bad.code == 1 && bad.err.contains("does not accept the token"), "{bad:?}");
    let wrong = run(magnum(&server, &["bay-list"]).envs(variables(&user)).env("OS_PASSWORD", "x"));
    assert!(wrong.code == 1 && wrong.err.contains("check OS_USERNAME"), "{wrong:?}");
    let away = ("OS_AUTH_URL", "http://127.0.0.1:1/v3");
    let away = run(magnum(&server, &["bay-list"]).envs(variables(&user)).env(away.0, away.1));
    assert!(away.code == 1 && away.err.contains("issued no token"), "{away:?}");
    let denied = run(magnum(&server, &["bay-delete", "b"]).envs(variables(&user)));
    assert!((denied.out + &denied.err).contains("This needs the role member"));
}

#[test]
fn a_tail_says_that_its_token_was_lost() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["member"]);
    let token = keystone().token(&user);
    as_user(&server, &user).post("/v1/baymodels", &baymodel("b")).expect(201);
    let mut tail = magnum(&server, &["events", "tail", "--after", "0"])
        .env("OS_TOKEN", &token)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // The day comes first.
    assert!(lines.any(|line| line.unwrap().contains("baymodel b")));
    keystone().revoke(&token);
    let done = tail.wait_with_output().unwrap();
    let words = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{words}");
    assert!(words.contains("revoked") && words.contains("--after "), "{words}");
}

#[test]
fn the_old_client_works_with_real_credentials() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["member"]);
    as_user(&server, &user).post("/v1/containers", &container("web")).expect(201);
    let program = python().with_file_name("magnum");
    let old = |user: &User, args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).envs(variables(user)).env("OS_TENANT_NAME", &user.project);
        run(command.env("BYPASS_URL", server.url()).env("NO_PROXY", "127.0.0.1"))
    };
    let list = old(&user, &["container-list"]);
    assert!(list.code == 0 && list.out.contains("web"), "{list:?}");
    let started = old(&user, &["container-start", "web"]);
    assert_eq!((started.code, started.err.as_str()), (0, ""), "{started:?}");
    let shown = as_user(&server, &user).get("/v1/containers/web").expect(200);
    assert_eq!((&shown["status"], shown.get("user_id")), (&"Running".into(), None));
    let stranger = keystone().user(&["member"]);
    let other = old(&stranger, &["container-list"]);
    assert!(other.code == 0 && !other.out.contains("web"), "{other:?}");
}
