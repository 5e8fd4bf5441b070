//! When Keystone is away: nobody is let in, nobody is sent away, and who follows goes on until
//! their token ends. And how seldom it is asked while it is there.

use std::thread;

use super::real::keystone;
use super::{as_user, not_ready};
use crate::door::Own;
use crate::harness::{Http, PATIENCE, Server, wait_for, wait_until};
use crate::requests::{baymodel, refused};
use crate::stream_client::{Follower, Transport};

#[test]
fn without_keystone_requests_wait_and_streams_go_on_until_their_token_expires() {
    let owner = keystone().user(&["member"]);
    let mut own = keystone().another("[token]\nexpiration = 20\n");
    let server = Server::start(own.magnum());
    let open = |token: &str| {
        let http = server.with_token(token);
        let mut stream = Follower::open(&http, Transport::Sse, "after=0", None).unwrap();
        assert_eq!(stream.next().unwrap().control, "heartbeat");
        stream
    };
    let (short, user) = (own.token(&owner), as_user(&server, &owner));
    let (mut ending, mut lasting) = (open(&short), open(user.token.as_deref().unwrap()));
    own.stop();
    let answer = wait_for("what was known to be forgotten", PATIENCE, || {
        let answer = user.get("/v1/bays");
        (answer.status != 200).then_some(answer)
    });
    let words = refused(&answer, 503);
    assert!(words.contains("Keystone") && !words.contains("127.0.0.1"), "{words}");
    assert_eq!(answer.header("retry-after"), "1");
    refused(&user.post("/v1/baymodels", &baymodel("b")), 503);
    assert_eq!(server.as_nobody().get("/v1/bays").status, 401);
    let end = wait_for("the token to expire", PATIENCE, || {
        let message = ending.next().expect("it says why it ends");
        (message.control == "end").then_some(message)
    });
    assert_eq!(
        (&*end.data["reason"].to_string(), end.position.is_some()),
        ("\"the token has expired\"", true)
    );
    assert!(ending.next().is_none());
    // Said once, however often it was asked.
    assert_eq!(server.stderr().matches("cannot authenticate requests").count(), 1);
    assert!(not_ready(&server).contains("--keystone-url"));
    let mut own = own.again();
    wait_until("Keystone to be asked again", PATIENCE, || user.get("/v1/bays").status == 200);
    server.get("/readyz").expect(200);
    assert!(server.stderr().contains("requests can be authenticated again"));
    let expired = server.with_token(&short).get("/v1/bays");
    assert_eq!((expired.status, &*expired.text), (401, "Authentication required"));
    // The other stream knew nothing of all this.
    user.post("/v1/baymodels", &baymodel("later")).expect(201);
    assert_eq!(lasting.event().data["type"], "magnum.baymodel.created.v1");
    own.stop();
}

/// Without requests that need Keystone, monitoring knows; and its own requests cost Keystone none.
#[test]
fn readiness_follows_keystone_and_does_not_ask_it() {
    let mut own = keystone().another("");
    let server = Server::start(own.magnum());
    let nobody = server.as_nobody();
    let is_ready = || nobody.get("/readyz").status == 200;
    wait_until("Keystone to be known", PATIENCE, is_ready);
    assert!(nobody.get("/metrics").text.contains("magnum_authentication_healthy 1"));
    let before = own.asked("GET /v3/auth/tokens");
    (0..200).for_each(|_| assert!(is_ready()));
    let asked = own.asked("GET /v3/auth/tokens") - before;
    assert!(asked < 20, "200 looks asked {asked} times");
    own.stop();
    wait_until("its absence to be noticed", PATIENCE, || !is_ready());
    assert!(not_ready(&server).contains("--keystone-url"));
    let mut own = own.again();
    wait_until("its return to be noticed", PATIENCE, is_ready);
    own.stop();
}

#[test]
fn a_wrong_password_of_the_service_is_not_called_an_absence() {
    let user = keystone().user(&["reader"]);
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "wrong").unwrap();
    let [auth, url, _] = keystone().arguments(keystone().url());
    let wrong = format!("--keystone-password-file={}", wrong.path().display());
    let server = Own::start("", &[&auth, &url, &wrong]);
    let http = Http::new().by_way_of(&server.url).with_token(&keystone().token(&user));
    let words = refused(&http.get("/v1/bays"), 503);
    assert!(
        words.contains("do not accept each other") && !words.contains("unavailable"),
        "{words}"
    );
    assert!(not_ready(&http).contains("--keystone-password-file"));
    assert!(server.stderr().contains("does not accept these credentials"), "{}", server.stderr());
}

#[test]
fn keystone_is_asked_once_for_all_who_come_with_one_token() {
    let user = keystone().user(&["reader"]);
    let mut own = keystone().another("");
    let server = Server::start(own.magnum());
    let user = as_user(&server, &user);
    let asked = || own.asked("GET /v3/auth/tokens");
    let before = asked();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| drop(user.get("/v1/bays").expect(200))));
        }
    });
    let for_requests = asked() - before;
    assert!((1..20).contains(&for_requests), "200 requests asked {for_requests} times");
    let before = asked();
    let streams: Vec<Follower> = (0..40)
        .map(|_| Follower::open(&user, Transport::Lines, "after=0", None).unwrap())
        .collect();
    wait_until("the token to be looked at twice more", PATIENCE, || asked() > before + 2);
    // Forty looks each time would be eighty by now.
    let for_streams = asked() - before;
    assert!(for_streams < 20, "40 streams asked {for_streams} times");
    drop(streams);
    own.stop();
}
