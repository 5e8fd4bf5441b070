//! `replay step`: the events of an object one by one in a terminal, with what each changed.
//!
//! `stepper` is the model of the screen and handles keys, `screen` draws it. States are ordinary
//! answers of the debugger, so it works with a server and with files. Not here: the answers.

use std::io::{self, IsTerminal};
use std::path::Path;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;

use super::super::error::CliError;
use super::super::noun::Session;
use super::place::{AnswerSource, NamedObject};
use super::screen;
use super::stepper::{Action, Stepper};
use super::{About, document};
use crate::files;
use crate::ids::{EventId, Revision};
use crate::replay::{Question, When};

/// Runs until the user quits.
pub async fn run(session: &Session, about: &About) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "replay step needs a terminal. In scripts use magnum replay timeline KIND/ID -o json \
             and magnum replay state KIND/ID --at v:N."
                .to_owned(),
        ));
    }
    let place = about.files.place(session).await?;
    let question = Question::Timeline { related: false, at: When::Latest };
    let timeline = place.ask(&about.object, &question).await?;
    let steps = document::items(&timeline, "events").iter();
    let events: Vec<Value> = steps.filter_map(|step| step.get("event")).cloned().collect();
    let asker = Asker { place, object: &about.object };
    let mut stepper = Stepper::new(document::title(&timeline), events);
    let mut terminal = ratatui::try_init()?;
    let ran = asker.steps(&mut terminal, &mut stepper).await;
    ratatui::try_restore()?;
    ran
}

/// Asks for answers about the object.
struct Asker<'a> {
    place: AnswerSource<'a>,
    object: &'a NamedObject,
}

impl Asker<'_> {
    async fn steps(
        &self,
        terminal: &mut DefaultTerminal,
        stepper: &mut Stepper,
    ) -> Result<(), CliError> {
        self.load(stepper).await?;
        loop {
            terminal.draw(|frame| screen::draw(frame, stepper))?;
            let Event::Key(key) = event::read()? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match stepper.key(key) {
                Action::Nothing => {}
                Action::Load => self.load(stepper).await?,
                Action::Export => {
                    let said = self.export().await.unwrap_or_else(|error| error.message());
                    stepper.say(said);
                }
                Action::Quit => return Ok(()),
            }
        }
    }

    /// Asks for the state after the chosen event, and after the one before it.
    async fn load(&self, stepper: &mut Stepper) -> Result<(), CliError> {
        let Some(revision) = stepper.revision() else { return Ok(()) };
        let now = self.state(revision, stepper.off_until(revision)).await?;
        let before = match revision.checked_sub(1) {
            Some(before) => self.state(before, stepper.off_until(before)).await?,
            None => Value::Null,
        };
        stepper.show(&before, &now);
        Ok(())
    }

    /// The state after an event, without the events in `drop`.
    async fn state(&self, revision: u64, drop: Vec<EventId>) -> Result<Value, CliError> {
        let at = When::Revision(Revision(revision));
        let question = if drop.is_empty() {
            Question::State { at }
        } else {
            Question::WhatIf { at, drop, apply: Vec::new() }
        };
        self.place.ask(self.object, &question).await
    }

    async fn export(&self) -> Result<String, CliError> {
        let question = Question::Bundle { related: true, redact: true };
        let bundle = self.place.ask(self.object, &question).await?;
        let name = document::text(&bundle, "/object").replace('/', "-");
        let file = format!("{name}.bundle.json");
        let mut text = serde_json::to_string_pretty(&bundle).unwrap_or_default();
        text.push('\n');
        files::write_named(Path::new(&file), &text)
            .map_err(|error| CliError::Failed(format!("{file}: {error}")))?;
        Ok(format!("written to {file}; magnum replay check can run it as a test"))
    }
}
