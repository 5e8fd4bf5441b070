//! What goes on until somebody ends it ends when its reader may not follow any longer, with the
//! reason and the position to resume from: in all three forms of the event stream, and in followed
//! logs (F30).

use reqwest::Method;

use super::real::{User, keystone};
use super::{as_user, container};
use crate::harness::{PATIENCE, Server, wait_until};
use crate::requests::baymodel;
use crate::stream_client::{Follower, Message, TRANSPORTS};

/// The last message of a stream, which says why it ends.
#[track_caller]
fn end(mut stream: Follower) -> Message {
    let mut last = None;
    while let Some(message) = stream.next() {
        last = Some(message);
    }
    last.expect("it says something")
}

/// Opens a stream in each form, does something, and checks that each ends with these words and
/// can be resumed, with another token, where it ended.
fn all_end(server: &Server, user: &User, lose: impl FnOnce(&str), words: &str) -> Vec<u64> {
    let token = keystone().token(user);
    let http = server.with_token(&token);
    let streams = TRANSPORTS.map(|transport| {
        let mut stream = Follower::open(&http, transport, "after=0", None).unwrap();
        // It goes on until then.
        assert_eq!(stream.next().unwrap().control, "heartbeat");
        stream
    });
    lose(&token);
    let ends = streams.map(end);
    for end in &ends {
        assert_eq!(end.control, "end", "{end:?}");
        assert_eq!(end.data["code"], "unauthenticated", "{end:?}");
        assert!(end.data["reason"].as_str().unwrap().contains(words), "{end:?}");
    }
    ends.iter().map(|end| end.position.expect("a position to resume from")).collect()
}

#[test]
fn a_revoked_token_ends_streams_which_another_token_resumes() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["member"]);
    let revoke = |token: &str| {
        keystone().revoke(token);
    };
    let ends = all_end(&server, &user, revoke, "revoked");
    let http = as_user(&server, &user);
    let made = http.post("/v1/baymodels", &baymodel("after")).expect(201);
    for (transport, position) in TRANSPORTS.into_iter().zip(ends) {
        let mut stream = Follower::open(&http, transport, "", Some(position)).unwrap();
        let event = stream.event();
        assert_eq!(event.data["subject"], format!("baymodel/{}", made["uuid"].as_str().unwrap()));
        assert!(event.position.unwrap() > position);
    }
}

#[test]
fn a_lost_role_ends_streams() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["reader", "service"]);
    let take = |_: &str| {
        let (project, id, role) = (&user.project_id, &user.id, keystone().role("reader"));
        let path = format!("/v3/projects/{project}/users/{id}/roles/{role}");
        keystone().admin().delete(&path).expect(204);
    };
    all_end(&server, &user, take, "no longer has a role in the project that may read");
    let token = keystone().token(&user);
    assert_eq!(server.with_token(&token).get("/v1/events").status, 403);
}

#[test]
fn a_disabled_project_and_a_deleted_user_end_streams() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["reader"]);
    let disable = |_: &str| keystone().enable("project", &user.project_id, false);
    all_end(&server, &user, disable, "disabled");
    let user = keystone().user(&["reader"]);
    let delete = |_: &str| {
        keystone().admin().delete(&format!("/v3/users/{}", user.id)).expect(204);
    };
    all_end(&server, &user, delete, "deleted");
}

#[test]
fn a_followed_log_says_why_it_ends() {
    let server = Server::start(keystone().magnum());
    let user = keystone().user(&["member"]);
    let http = as_user(&server, &user);
    http.post("/v1/containers", &container("web")).expect(201);
    http.put("/v1/containers/web/start").expect(200);
    let token = keystone().token(&user);
    let follower = server.with_token(&token);
    let read = std::thread::spawn(move || {
        follower.send(Method::GET, "/v1/containers/web/logs?follow=1", &[], None)
    });
    wait_until("the log to be followed", PATIENCE, || {
        let metrics = server.as_nobody().get("/metrics").text;
        let line = "route=\"/v1/containers/{ident}/logs\",status=\"200\"} ";
        metrics.contains(line)
    });
    keystone().revoke(&token);
    let answer = read.join().unwrap();
    assert!(answer.text.contains("magnum: no longer followed: the token"), "{}", answer.text);
}
