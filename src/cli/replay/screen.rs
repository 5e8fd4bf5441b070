//! The screen of `replay step`: events on the left, state and changes on the right, keys below.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, List, ListItem, ListState, Paragraph, Wrap};
use serde_json::Value;

use super::document::{number, text, time};
use super::stepper::{Field, Focus, Prompt, Stepper};
use crate::replay::entry::{details, plain};
use crate::text::misleads;

/// The keys.
const KEYS: &str = "↑↓ step  Tab side  g jump  / find  n next  Space off  f pin  e export  q quit";

/// Below so many columns there is no room for noun and milliseconds of each event.
const WIDE_COLUMNS: u16 = 110;

/// Rows of the chosen event: who and what, in a frame; where it is narrow, in twice as many lines.
const EVENT_ROWS: (u16, u16) = (4, 6);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, stepper: &Stepper) {
    let [main, foot] =
        Layout::vertical([Constraint::Min(3), Constraint::Length(1)]).areas(frame.area());
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(45), Constraint::Percentage(55)]).areas(main);
    let pinned = stepper.pinned.len() as u16;
    let pinned = if pinned == 0 { 0 } else { pinned.saturating_add(2) };
    let is_narrow = frame.area().width < WIDE_COLUMNS;
    let rows = if is_narrow { EVENT_ROWS.1 } else { EVENT_ROWS.0 };
    let [top, details, state] = Layout::vertical([
        Constraint::Length(pinned),
        Constraint::Length(rows),
        Constraint::Min(3),
    ])
    .areas(right);
    events(frame, stepper, left, is_narrow);
    pins(frame, stepper, top);
    event(frame, stepper, details);
    fields(frame, stepper, state);
    frame.render_widget(Paragraph::new(footer(stepper)), foot);
    for cell in &mut frame.buffer_mut().content {
        if cell.symbol().chars().any(misleads) {
            cell.set_symbol("\u{fffd}");
        }
    }
}

fn block(title: &str, has_focus: bool) -> Block<'_> {
    let style = if has_focus { Style::new().fg(Color::Cyan) } else { Style::new() };
    Block::bordered().title(title).border_style(style)
}

fn events(frame: &mut Frame<'_>, stepper: &Stepper, area: Rect, is_narrow: bool) {
    let item = |(index, event): (usize, &Value)| {
        let is_off = stepper.off.contains(&index);
        let mark = if is_off { "×" } else { " " };
        let (position, name) = (number(event, "/position"), text(event, "/type"));
        let clock = time(text(event, "/time")).get(11..).unwrap_or_default();
        let (clock, name) = if is_narrow {
            let fact = name.split_once('.').map_or(name, |(_, fact)| fact);
            (clock.get(..8).unwrap_or(clock), fact)
        } else {
            (clock, name)
        };
        let style = if is_off { Style::new().fg(Color::DarkGray) } else { Style::new() };
        ListItem::new(format!("{mark} {position:>6} {clock} {name}")).style(style)
    };
    let list = List::new(stepper.events.iter().enumerate().map(item))
        .block(block(title(stepper, is_narrow), stepper.focus == Focus::Events))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut chosen = ListState::default().with_selected(Some(stepper.at));
    frame.render_stateful_widget(list, area, &mut chosen);
}

/// The object; where it is narrow by its name, if it has one.
fn title(stepper: &Stepper, is_narrow: bool) -> &str {
    let named = stepper.title.split_once(" (").and_then(|(_, name)| name.strip_suffix(')'));
    named.filter(|_| is_narrow).unwrap_or(&stepper.title)
}

/// Pinned fields.
fn pins(frame: &mut Frame<'_>, stepper: &Stepper, area: Rect) {
    let line = |name: &String| {
        let field = stepper.fields.iter().find(|field| field.name == *name);
        field.map_or_else(|| Line::from(format!("  {name}: not set")), told)
    };
    let lines: Vec<Line<'_>> = stepper.pinned.iter().map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block("pinned", false)), area);
}

/// The chosen event.
fn event(frame: &mut Frame<'_>, stepper: &Stepper, area: Rect) {
    let event = stepper.events.get(stepper.at).unwrap_or(&Value::Null);
    let by = format!("by {} {}", text(event, "/user"), text(event, "/request_id"));
    let lines = vec![Line::from(by), Line::from(details(event))];
    let title = format!("v:{} {}", number(event, "/revision"), text(event, "/type"));
    let event = Paragraph::new(lines).wrap(Wrap { trim: true });
    frame.render_widget(event.block(block(&title, false)), area);
}

fn fields(frame: &mut Frame<'_>, stepper: &Stepper, area: Rect) {
    let title = if stepper.off.is_empty() { "state" } else { "state, without events that are off" };
    let list = List::new(stepper.fields.iter().map(told))
        .block(block(title, stepper.focus == Focus::Fields))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let chosen = (stepper.focus == Focus::Fields).then_some(stepper.field);
    let mut chosen = ListState::default().with_selected(chosen);
    frame.render_stateful_widget(list, area, &mut chosen);
}

/// A field with its value, and the old value if the event changed it.
fn told(field: &Field) -> Line<'static> {
    let name = &field.name;
    match (&field.was, &field.now) {
        (None, Some(now)) => painted(format!("+ {name}: {}", plain(now)), Color::Green),
        (Some(was), None) => painted(format!("- {name}: {}", plain(was)), Color::Red),
        (Some(was), Some(now)) if was != now => {
            painted(format!("~ {name}: {} → {}", plain(was), plain(now)), Color::Yellow)
        }
        (_, now) => {
            Line::from(format!("  {name}: {}", now.as_ref().map(plain).unwrap_or_default()))
        }
    }
}

fn painted(text: String, colour: Color) -> Line<'static> {
    Line::from(text).style(Style::new().fg(colour))
}

fn footer(stepper: &Stepper) -> Line<'_> {
    match &stepper.prompt {
        Some((Prompt::Jump, typed)) => Line::from(format!("position, or v:3: {typed}▏")),
        Some((Prompt::Search, typed)) => Line::from(format!("search: {typed}▏")),
        None if !stepper.message.is_empty() => Line::from(stepper.message.as_str()),
        None => Line::from(KEYS),
    }
}
