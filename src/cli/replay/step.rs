//! `replay step`: an object's events one by one in a terminal, with what each changed.
//!
//! `stepper` is what is on the screen and what keys do to it, `screen` draws it. Every state is
//! asked for as any other question, so it works on a server and on files. Not here: the answers.

use std::fs;
use std::io::{self, IsTerminal};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::Value;

use super::super::failure::CliError;
use super::super::noun::Session;
use super::place::{Object, Place};
use super::screen;
use super::stepper::{Action, Stepper};
use super::{About, tell};
use crate::ids::{EventId, Revision};
use crate::replay::{Question, When};

/// Runs until the person has seen enough.
pub async fn run(session: &Session, about: &About) -> Result<(), CliError> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "replay step needs a terminal. For programs: magnum replay timeline KIND/ID -o json, \
             and magnum replay state KIND/ID --at v:N."
                .to_owned(),
        ));
    }
    let place = about.files.place(session).await?;
    let question = Question::Timeline { related: false, at: When::Latest };
    let timeline = place.ask(&about.object, &question).await?;
    let steps = tell::items(&timeline, "events").iter();
    let events: Vec<Value> = steps.filter_map(|step| step.get("event")).cloned().collect();
    let asker = Asker { place, object: &about.object };
    let mut stepper = Stepper::new(tell::title(&timeline), events);
    let mut terminal = ratatui::try_init()?;
    let ran = asker.steps(&mut terminal, &mut stepper).await;
    ratatui::try_restore()?;
    ran
}

/// Where answers about the object come from.
struct Asker<'a> {
    place: Place<'a>,
    object: &'a Object,
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
                    let said = self.export().await.unwrap_or_else(|error| error.words());
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

    /// The state after an event, as if some had not happened.
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
        let name = tell::text(&bundle, "/object").replace('/', "-");
        let file = format!("{name}.bundle.json");
        let mut text = serde_json::to_string_pretty(&bundle).unwrap_or_default();
        text.push('\n');
        fs::write(&file, text).map_err(|error| CliError::Failed(format!("{file}: {error}")))?;
        Ok(format!("written to {file}, which magnum replay check takes as a test"))
    }
}
