//! Values of environment variables: in the container, in the clear nowhere else, and erasable for
//! good, in every copy of the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use magnum::backends::fake::{FakeBackend, FakeEngine};
use magnum::backends::unsealing::Unsealing;
use magnum::backends::{Action, Backend, BackendError, Desired, Done};
use magnum::clock;
use magnum::events::container::ContainerSpec;
use magnum::events::log::export::to_hex;
use magnum::ids::ProjectId;
use magnum::secrets::Secrets;
use serde_json::{Value, json};

use crate::backend::{self, IMAGE, Notes};
use crate::harness::{Options, Server};
use crate::replay::{magnum, on_files};
use crate::requests::refused;

const SECRET: &str = "tr0ub4dor-and-3";

/// The files below a folder that have a text in them, as it is or in hex.
pub fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let hex = to_hex(text.as_bytes());
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        if holds(&bytes, text) || holds(&bytes, &hex) {
            found.push(path);
        }
    }
    found
}

fn with_a_secret(server: &Server, name: &str) {
    let body = json!({
        "name": name, "image": IMAGE, "command": "sleep 100", "environment": { "TOKEN": SECRET },
    });
    server.post("/v1/containers", &body).expect(201);
    server.put(&format!("/v1/containers/{name}/start")).expect(200);
}

/// What the container's processes see.
fn seen_in(server: &Server, name: &str) -> bool {
    let path = format!("/v1/containers/{name}/execute?command=env");
    server.put(&path).expect(200)["output"].to_string().contains(&format!("TOKEN={SECRET}"))
}

fn key(server: &Server) -> Option<String> {
    let keys = server.get("/v1/keys").expect(200);
    Some(keys["keys"].as_array().unwrap().first()?["id"].as_str().unwrap().to_owned())
}

/// F53: what is in the log, its caches, exports and backups is sealed; without the key it is lost.
#[test]
fn f53_values_reach_the_container_are_kept_sealed_and_can_be_erased() {
    let mut server = Server::start(Options::docker());
    assert_eq!(key(&server), None);
    with_a_secret(&server, "web");
    assert!(seen_in(&server, "web"));
    let first = key(&server).unwrap();
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("backup");
    let export = copies.path().join("export.jsonl");
    let done = on_files(&server.data(), &["backup", copy.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");
    let done = on_files(&server.data(), &["log", "export"]);
    assert!(done.out.contains(&format!("sealed:v1:{first}:")));
    std::fs::write(export, done.out).unwrap();
    // Again after a start, so that what was saved is there.
    server.stop();
    server.restart();
    for folder in [&server.data(), copies.path()] {
        let found = files_with(folder, SECRET);
        assert!(found.is_empty(), "{found:?}");
    }
    let done = magnum(server.url(), &["keys", "erase", &first]);
    assert_eq!((done.code, key(&server).as_ref()), (1, Some(&first)), "nobody said yes: {done:?}");
    assert!(done.err.contains("Nothing was erased: stdin is not a terminal."), "{done:?}");
    let done = magnum(server.url(), &["--reason", "asked to", "keys", "erase", &first, "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(key(&server), None);
    // Who erased what and why is on record.
    let page = server.get("/v1/events?type=audit.key_erased").expect(200);
    let [event] = &page["events"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&event["data"], &event["reason"]), (&json!({ "key": first }), &json!("asked to")));
    refused(&server.delete(&format!("/v1/keys/{first}")), 404);
    // Nobody reads it any more, and the next values have a key of their own.
    let log: Vec<Value> = on_files(&server.data(), &["log", "export"])
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let created = log.iter().find(|event| event["type"] == "container.create_requested").unwrap();
    let value = created["data"]["spec"]["environment"]["TOKEN"].as_str().unwrap();
    let mut sealed = [("TOKEN".to_owned(), value.to_owned())].into();
    let secrets = Secrets::new(server.data().join("keys"));
    let words = secrets.open(&ProjectId::default(), &mut sealed).unwrap_err().to_string();
    assert!(words.contains(&format!("TOKEN can no longer be read: the key {first}")), "{words}");
    assert!(seen_in(&server, "web"), "the engine has it as long as the container is there");
    with_a_secret(&server, "next");
    assert!(seen_in(&server, "next"));
    assert_ne!(key(&server).unwrap(), first);
}

/// What is still to be made when its key is erased ends with words; what was made is taken up.
#[tokio::test]
async fn work_whose_values_were_erased_fails_and_what_it_made_before_is_taken_up() {
    let home = tempfile::tempdir().unwrap();
    let (secrets, project) = (Secrets::new(home.path().join("keys")), ProjectId::default());
    let (engine, node) = (FakeEngine::new(clock::now_and_instant()), clock::new_object_id());
    let door = Unsealing::new(Arc::new(FakeBackend::new(engine.clone(), node)), secrets.clone());
    let mut environment = [("TOKEN".to_owned(), SECRET.to_owned())].into();
    secrets.seal(&project, &mut environment).unwrap();
    let spec = ContainerSpec { environment, ..backend::spec("sleep 100") };
    let bay = backend::bay();
    let create = || backend::work(node, backend::container(), backend::create(bay, spec.clone()));
    let (made, late) = (create(), create());
    let perform = async |work| door.perform(work, &Notes::default()).await;
    let network = backend::work(node, bay, Action::Apply(Desired::Network));
    perform(&network).await.unwrap();
    perform(&made).await.unwrap();
    assert!(engine.containers().iter().all(|one| one.spec.environment["TOKEN"] == SECRET));
    assert!(matches!(&made.action, Action::Apply(Desired::Container { spec, .. })
        if spec.environment["TOKEN"].starts_with("sealed:v1:")));
    let key = secrets.key_id(&project).unwrap().unwrap();
    // A key that cannot be read may be readable later.
    let file = home.path().join("keys/default.key");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    assert!(matches!(perform(&late).await, Err(BackendError::Failed(_))));
    std::fs::write(&file, bytes).unwrap();
    assert!(secrets.erase(&project, &key).unwrap());
    let Err(BackendError::Refused(words)) = perform(&late).await else { panic!() };
    assert!(words.contains("TOKEN can no longer be read"), "{words}");
    assert!(matches!(perform(&made).await, Ok(Done { .. })));
    assert_eq!(engine.containers().len(), 1);
}
