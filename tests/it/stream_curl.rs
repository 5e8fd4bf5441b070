//! The curl lines of docs/events-api.md, run against a server that has what the document shows.

use tempfile::TempDir;

use crate::pasted::{Section, sh};
use crate::replay::with_a_story;

/// Where the document's server is.
const DOCUMENTED: &str = "http://127.0.0.1:9511";

#[test]
fn events_are_read_with_curl_as_pasted() {
    let server = with_a_story();
    let home = TempDir::new().unwrap();
    Section::of("docs/events-api.md", "With curl").is_as_pasted(|line| {
        let printed = sh(&line.replace(DOCUMENTED, server.url()), home.path(), server.url());
        printed.replace(server.url(), DOCUMENTED)
    });
}
