//! All benchmarks in one program, so that each figure stands beside a probe of the same machine
//! in the same run: `make bench`, or `make bench ONLY='log views'`.
//!
//! Not here: what is measured (one file a subject), how it is printed (`report`). Nothing fails
//! for being slow; the table says what was reached.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so by panicking")]

mod delivery;
mod engine;
mod http;
mod log;
mod memory;
mod probe;
mod replay;
mod report;
mod road;
mod server;
mod views;
mod world;

use report::Report;
use tikv_jemallocator::Jemalloc;

/// That of the program.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A subject: its name on the command line, and what measures it.
type Subject = (&'static str, fn(&mut Report));

/// In the order of the table.
const SUBJECTS: &[Subject] = &[
    ("probe", probe::measure),
    ("append", log::appends),
    ("log", log::measure),
    ("views", views::measure),
    ("replay", replay::measure),
    ("road", road::measure),
    ("http", http::measure),
    ("engine", engine::measure),
    ("delivery", delivery::measure),
    ("memory", memory::measure),
];

fn main() {
    log::fill_if_asked();
    // cargo adds arguments of its own, all of which begin with a dash.
    let only: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let unknown = only.iter().find(|name| SUBJECTS.iter().all(|(known, _)| known != *name));
    if let Some(name) = unknown {
        let names: Vec<&str> = SUBJECTS.iter().map(|(name, _)| *name).collect();
        eprintln!("There is no benchmark {name}; there are: {}", names.join(", "));
        std::process::exit(2);
    }
    let mut report = Report::default();
    for (name, measure) in SUBJECTS {
        if only.is_empty() || only.iter().any(|it| it == name) {
            eprintln!("==> {name}");
            measure(&mut report);
        }
    }
    report.print();
}
