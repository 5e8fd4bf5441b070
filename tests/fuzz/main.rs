//! Parsers that strangers reach, on what is nearly right: no panic, no answer without bound, and
//! what is read is what was written. Inputs are samples that were changed here and there, since
//! random bytes do not get past the first check.
//!
//! A few hundred inputs each, always the same ones; random ones for `MAGNUM_FUZZ_SECONDS` each
//! where that is set (`make soak`). Requests that the document of the API describes are made by
//! `tests/it/schemathesis.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod bytes;
mod cli;
mod documents;
mod doors;
mod engine;
mod keystone;
mod mutation;
mod requests;
mod server;
mod texts;

use std::env;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

/// Inputs of a target where no time is set: a second or less.
const CASES: u32 = 256;

/// Longest words of a refusal, in bytes: what is wrong, and the beginning of what is.
const MAX_WORDS: usize = 32 << 10;

/// Gives a check inputs; panics with the smallest one that it fails on.
fn fuzz<S: Strategy>(cases: u32, inputs: S, check: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let run = |runner: &mut TestRunner| {
        let outcome = runner.run(&inputs, |input| {
            check(input);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    match env::var("MAGNUM_FUZZ_SECONDS") {
        Err(_) => {
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            run(&mut TestRunner::new_with_rng(config, rng));
        }
        Ok(seconds) => {
            let (start, limit) = (Instant::now(), Duration::from_secs(seconds.parse().unwrap()));
            while start.elapsed() < limit {
                run(&mut TestRunner::new(config.clone()));
            }
        }
    }
}

/// Checks the words of a refusal.
#[track_caller]
fn is_bounded(words: impl ToString) {
    let words = words.to_string();
    assert!(words.len() <= MAX_WORDS, "{} bytes: {words:.200}…", words.len());
}

/// A sample of `schemas/samples`: an event as it is in a log.
fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/samples").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The contents of all samples, as bytes.
fn contents() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/samples");
    let names = fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".json"));
    names.sort_unstable();
    names.iter().map(|name| content(name)).collect()
}

/// The content of one sample.
fn content(name: &str) -> Vec<u8> {
    magnum::events::log::export::from_hex(sample(name)["content"].as_str().unwrap()).unwrap()
}
