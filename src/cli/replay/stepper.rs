//! The model of `replay step`: what is shown, and what keys do. No terminal and no server, so that
//! it can be tested.

use std::collections::BTreeSet;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;

use super::document::{number, text};
use crate::ids::EventId;
use crate::replay::fields::{is_bookkeeping, of_object, pairs};

/// Events per page up or down: about half a screen.
const PAGE: usize = 10;

/// What to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Draw again.
    Nothing,
    /// Ask for the state of the chosen event.
    Load,
    /// Write what happened into a file.
    Export,
    /// End.
    Quit,
}

/// Which side receives keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The list of events.
    Events,
    /// The fields of the state.
    Fields,
}

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A position, or a revision as `v:3`.
    Jump,
    /// Part of an event or of its details.
    Search,
}

/// A field after the chosen event and before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// `status`, `state.tasks.queue.0.id`
    pub name: String,
    /// The old value; `None` if it was not set.
    pub was: Option<Value>,
    /// The new value; `None` if it is not set.
    pub now: Option<Value>,
}

/// The whole screen.
pub struct Stepper {
    /// The object.
    pub title: String,
    /// Its events.
    pub events: Vec<Value>,
    /// Index of the selected event.
    pub at: usize,
    /// Indexes of events that are switched off.
    pub off: BTreeSet<usize>,
    /// Pinned fields.
    pub pinned: Vec<String>,
    /// The state after the selected event.
    pub fields: Vec<Field>,
    /// Index of the selected field.
    pub field: usize,
    /// Which side receives keys.
    pub focus: Focus,
    /// What is being typed.
    pub prompt: Option<(Prompt, String)>,
    /// What was done, or what went wrong.
    pub message: String,
    search: String,
}

impl Stepper {
    /// At the last event.
    pub fn new(title: String, events: Vec<Value>) -> Self {
        Self {
            title,
            at: events.len().saturating_sub(1),
            events,
            off: BTreeSet::new(),
            pinned: Vec::new(),
            fields: Vec::new(),
            field: 0,
            focus: Focus::Events,
            prompt: None,
            message: String::new(),
            search: String::new(),
        }
    }

    /// The revision of the chosen event.
    pub fn revision(&self) -> Option<u64> {
        self.events.get(self.at).map(|event| number(event, "/revision"))
    }

    /// The events up to a revision that are switched off.
    pub fn off_until(&self, revision: u64) -> Vec<EventId> {
        let events = self.off.iter().filter_map(|index| self.events.get(*index));
        let before = events.filter(|event| number(event, "/revision") <= revision);
        before.filter_map(|event| text(event, "/id").parse().ok().map(EventId)).collect()
    }

    /// Shows the states before and after the selected event.
    pub fn show(&mut self, before: &Value, now: &Value) {
        let fields = |answer: &Value| of_object(answer.get("view"), answer.get("state"));
        let pairs = pairs(&fields(now), &fields(before)).into_iter();
        self.fields = pairs.map(|(name, now, was)| Field { name, was, now }).collect();
        // Changed fields come first, and what users mean before how the service keeps track of it:
        // not all fields fit on a screen.
        self.fields.sort_by_key(|field| (field.was == field.now, is_bookkeeping(&field.name)));
        self.field = self.field.min(self.fields.len().saturating_sub(1));
    }

    /// Shows a message.
    pub fn say(&mut self, words: String) {
        self.message = words;
    }

    /// What a key does.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Action::Quit;
        }
        self.message.clear();
        match self.prompt.take() {
            Some((prompt, typed)) => self.typed(prompt, typed, key.code),
            None => self.pressed(key.code),
        }
    }

    fn pressed(&mut self, code: KeyCode) -> Action {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('e') => return Action::Export,
            KeyCode::Char('g') => self.prompt = Some((Prompt::Jump, String::new())),
            KeyCode::Char('/') => self.prompt = Some((Prompt::Search, String::new())),
            KeyCode::Char('n') => return self.next_hit(),
            KeyCode::Char(' ') => {
                if !self.off.remove(&self.at) {
                    self.off.insert(self.at);
                }
                return Action::Load;
            }
            KeyCode::Char('f') => self.pin(),
            KeyCode::Tab => {
                self.focus = match self.focus {
                    Focus::Events => Focus::Fields,
                    Focus::Fields => Focus::Events,
                }
            }
            KeyCode::Down | KeyCode::Char('j') => return self.go(|at| at.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => return self.go(|at| at.saturating_sub(1)),
            KeyCode::PageDown => return self.go(|at| at.saturating_add(PAGE)),
            KeyCode::PageUp => return self.go(|at| at.saturating_sub(PAGE)),
            KeyCode::Home => return self.go(|_| 0),
            KeyCode::End => return self.go(|_| usize::MAX),
            _ => {}
        }
        Action::Nothing
    }

    /// Goes to another event or field.
    fn go(&mut self, to: impl Fn(usize) -> usize) -> Action {
        match self.focus {
            Focus::Events => {
                self.at = to(self.at).min(self.events.len().saturating_sub(1));
                Action::Load
            }
            Focus::Fields => {
                self.field = to(self.field).min(self.fields.len().saturating_sub(1));
                Action::Nothing
            }
        }
    }

    fn typed(&mut self, prompt: Prompt, mut typed: String, code: KeyCode) -> Action {
        match code {
            KeyCode::Esc => return Action::Nothing,
            KeyCode::Enter => {
                return match prompt {
                    Prompt::Jump => self.jump(&typed),
                    Prompt::Search => {
                        self.search = typed;
                        self.next_hit()
                    }
                };
            }
            KeyCode::Backspace => {
                typed.pop();
            }
            KeyCode::Char(c) => typed.push(c),
            _ => {}
        }
        self.prompt = Some((prompt, typed));
        Action::Nothing
    }

    fn jump(&mut self, to: &str) -> Action {
        let (pointer, digits) = match to.strip_prefix("v:") {
            Some(revision) => ("/revision", revision),
            None => ("/position", to),
        };
        let wanted = digits.parse::<u64>().ok();
        let found = self.events.iter().position(|it| Some(number(it, pointer)) == wanted);
        match found {
            Some(index) => {
                self.at = index;
                Action::Load
            }
            None => {
                self.message =
                    format!("no event at '{to}'; use a position, or a revision such as v:3");
                Action::Nothing
            }
        }
    }

    /// The next event that contains the search text, wrapping around.
    fn next_hit(&mut self) -> Action {
        if self.search.is_empty() {
            self.message = "no search text; / starts a search".to_owned();
            return Action::Nothing;
        }
        let count = self.events.len();
        let order = (1..=count).map(|step| (self.at + step) % count.max(1));
        let has_it = |index: &usize| {
            self.events.get(*index).is_some_and(|it| it.to_string().contains(&self.search))
        };
        match order.into_iter().find(has_it) {
            Some(index) => {
                self.at = index;
                Action::Load
            }
            None => {
                self.message = format!("no event contains '{}'", self.search);
                Action::Nothing
            }
        }
    }

    /// Pins or unpins the selected field.
    fn pin(&mut self) {
        let Some(field) = self.fields.get(self.field) else { return };
        let had = self.pinned.len();
        self.pinned.retain(|name| *name != field.name);
        if self.pinned.len() == had {
            self.pinned.push(field.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stepper() -> Stepper {
        let event = |revision: u64, name: &str| {
            let id = uuid::Uuid::from_u128(u128::from(revision));
            json!({"revision": revision, "position": 10 + revision, "type": name, "id": id})
        };
        let names = ["container.created", "container.started", "container.exited"];
        Stepper::new("web".to_owned(), (0..).zip(names).map(|(at, it)| event(at, it)).collect())
    }

    fn press(stepper: &mut Stepper, keys: &str) -> Action {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        keys.chars().map(|c| stepper.key(code(c).into())).last().unwrap()
    }

    #[test]
    fn keys_go_from_event_to_event() {
        let mut stepper = stepper();
        assert_eq!((press(&mut stepper, "k"), stepper.at), (Action::Load, 1));
        assert_eq!((press(&mut stepper, "jj"), stepper.at), (Action::Load, 2));
        assert_eq!((press(&mut stepper, "g10\n"), stepper.at), (Action::Load, 0));
        assert_eq!((press(&mut stepper, "gv:2\n"), stepper.at), (Action::Load, 2));
        assert_eq!((press(&mut stepper, "g99\n"), stepper.at), (Action::Nothing, 2));
        assert!(stepper.message.contains("'99'"));
        assert_eq!((press(&mut stepper, "/started\n"), stepper.at), (Action::Load, 1));
        assert_eq!((press(&mut stepper, "n"), stepper.at), (Action::Load, 1));
        assert_eq!(press(&mut stepper, "/nothing\n"), Action::Nothing);
        assert_eq!(press(&mut stepper, "q"), Action::Quit);
    }

    #[test]
    fn an_event_is_switched_off_for_all_after_it() {
        let mut stepper = stepper();
        assert_eq!(press(&mut stepper, "gv:1\n "), Action::Load);
        let off = EventId(uuid::Uuid::from_u128(1));
        assert_eq!((stepper.off_until(0), stepper.off_until(2)), (vec![], vec![off]));
        assert_eq!(press(&mut stepper, " "), Action::Load);
        assert!(stepper.off_until(2).is_empty());
    }

    #[test]
    fn fields_say_what_they_were_and_can_be_pinned() {
        let mut stepper = stepper();
        let (before, now) = (json!({"view": {"status": "Stopped"}}), json!({"state": {"a": 1}}));
        stepper.show(&before, &now);
        let a = Field { name: "state.a".to_owned(), was: None, now: Some(json!(1)) };
        let was = Some(json!("Stopped"));
        let status = Field { name: "status".to_owned(), was, now: None };
        assert_eq!(stepper.fields, [status, a]);
        press(&mut stepper, "\tf");
        assert_eq!(stepper.pinned, ["status"]);
        press(&mut stepper, "f");
        assert!(stepper.pinned.is_empty());
    }
}
