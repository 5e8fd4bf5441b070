//! The table that a run prints: the machine, then what was measured, what is wanted, what limits it.

use std::fs;
use std::time::Duration;

/// One figure.
struct Row {
    what: String,
    figure: String,
    target: String,
    reached: bool,
    beside: String,
}

/// All figures of a run, in the order in which they were taken.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure with its unit, what it must reach, whether it does, and what it was measured
    /// beside: the probe of the same run, the sizes that formed, the number of objects.
    pub fn add(&mut self, what: &str, figure: &str, target: &str, reached: bool, beside: &str) {
        eprintln!("    {what}: {figure} (must reach {target}; {beside})");
        self.rows.push(Row {
            what: what.to_owned(),
            figure: figure.to_owned(),
            target: target.to_owned(),
            reached,
            beside: beside.to_owned(),
        });
    }

    /// Prints the table as Markdown, as it goes into `docs/benchmarks.md`.
    pub fn print(&self) {
        println!("{}\n", machine());
        println!("| What | Measured | Must reach | | Beside |\n|---|---|---|---|---|");
        for Row { what, figure, target, reached, beside } in &self.rows {
            let reached = if *reached { "yes" } else { "**no**" };
            println!("| {what} | {figure} | {target} | {reached} | {beside} |");
        }
    }
}

/// The machine in a line: processor, cores, memory, kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let processor = value(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("Machine: {processor}, {cores} cores, {memory} of memory, Linux {}.", kernel.trim())
}

/// A number of things in a second.
pub fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The value below which a share of all values lies; sorts them.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
