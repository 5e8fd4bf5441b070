//! `bundle`: exporting the history of an object as one file, and checking such a file.
//!
//! Every command of the debugger reads it with `--data FILE`. Not here: its contents (`replay`).

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::noun::Session;
use super::options::Format;
use super::replay::{About, read_text};
use super::table;
use super::terminal::{printable, printable_json};
use crate::files;
use crate::replay::Question;
use crate::replay::bundle::Bundle;

/// Commands for bundles.
#[derive(Subcommand)]
pub enum BundleCommand {
    /// Write the history of an object into one file, for others to debug
    Export(Export),
    /// Check a bundle and show what it contains
    Import(Import),
}

/// What to write.
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    about: About,
    /// File to write; - prints it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Include its bay and node, and the containers in it
    #[arg(long)]
    related: bool,
    /// Remove values of environment variables, as a server always does
    #[arg(long)]
    redact: bool,
}

/// What to check.
#[derive(Args)]
pub struct Import {
    /// File to read; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs a command for bundles.
pub async fn run(session: &Session, command: BundleCommand) -> Result<(), CliError> {
    match command {
        BundleCommand::Export(args) => export(session, args).await,
        BundleCommand::Import(args) => import(session.format, &args.file),
    }
}

async fn export(session: &Session, args: Export) -> Result<(), CliError> {
    let question = Question::Bundle { related: args.related, redact: args.redact };
    let answer = args.about.ask(session, &question).await?;
    // Pretty, so that a person can look into it and a tool can compare two of them by line.
    let mut text = serde_json::to_string_pretty(&answer).unwrap_or_default();
    text.push('\n');
    if args.file == Path::new("-") {
        return table::print(&printable_json(&text));
    }
    files::write_named(&args.file, &text)
        .map_err(|error| CliError::Failed(format!("{}: {error}", args.file.display())))?;
    import(session.format, &args.file)
}

fn import(format: Format, file: &Path) -> Result<(), CliError> {
    let (bundle, _) = Bundle::read(&read_text(file)?)?;
    let positions = bundle.events.first().zip(bundle.events.last());
    let proof = match bundle.proof {
        Some(_) => format!("the chain leads to the log's head, {}", bundle.head.hash),
        None => "none: the log continues too far after it, or events in between are missing, such \
                 as archived ones"
            .to_owned(),
    };
    table::show(
        format,
        &json!({
            "object": bundle.object, "name": bundle.name, "related": bundle.related,
            "events": bundle.events.len(),
            "first": positions.map(|(first, _)| first.position.get()),
            "last": positions.map(|(_, last)| last.position.get()),
            "head": bundle.head.position.get(), "proof": proof,
            "redacted": bundle.redacted, "magnum": bundle.magnum,
        }),
    )?;
    if format == Format::Table && file != Path::new("-") {
        let open = format!("magnum replay timeline {} --data {}", bundle.object, file.display());
        table::print(&format!("Open it with: {}\n", printable(&open)))?;
    }
    Ok(())
}
