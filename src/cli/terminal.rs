//! Output for people: colours and progress on terminals, text that is safe to print, and numbers of
//! things.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use ratatui::crossterm;

use crate::text::is_hidden;

/// The width of the terminal that stdout is; nothing if it is none.
pub fn width() -> Option<usize> {
    let size = || crossterm::terminal::size().ok();
    let columns = if std::io::stdout().is_terminal() { size()?.0 } else { return None };
    // Some say that they have none.
    (columns > 0).then(|| usize::from(columns))
}

/// Red: failures.
pub const RED: u8 = 31;
/// Green: successes.
pub const GREEN: u8 = 32;
/// Yellow: waiting.
pub const YELLOW: u8 = 33;

/// A person notices a wait after about a second.
const NOTICED_AFTER: Duration = Duration::from_secs(1);

/// Whether to use colours: on a terminal, unless `NO_COLOR` is set.
pub fn colours(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// Text in a colour, if colours are on.
pub fn paint(on: bool, colour: u8, text: &str) -> String {
    if on { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Awaits a future; counts the seconds on stderr if that is a terminal.
pub async fn with_progress<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    let mut seconds = 0u64;
    loop {
        if let Ok(done) = tokio::time::timeout(NOTICED_AFTER, work.as_mut()).await {
            if seconds > 0 {
                // A lost terminal must not fail the command.
                let _gone = write!(stderr, "\r\x1b[K");
            }
            return done;
        }
        seconds = seconds.saturating_add(1);
        let _gone = write!(stderr, "\r\x1b[K{what} ... {seconds} s");
    }
}

/// Text with hidden characters escaped, as names and outputs come from others. Line feeds stay.
pub fn printable(text: &str) -> String {
    escaped(text, |hidden, told| told.extend(hidden.escape_default()))
}

/// JSON with the same characters escaped. There they stand in strings alone, which stay the same.
pub fn printable_json(text: &str) -> String {
    escaped(text, |hidden, told| {
        for unit in hidden.encode_utf16(&mut [0; 2]) {
            told.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut told = String::with_capacity(text.len());
    for character in text.chars() {
        if character == '\n' || !is_hidden(character) {
            told.push(character);
        } else {
            escape(character, &mut told);
        }
    }
    told
}

/// A number of things: `1 event`, `2 events`.
pub fn counted(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::{RED, counted, paint, printable, printable_json};

    #[test]
    fn one_thing_is_not_many() {
        let told = [0, 1, 2].map(|number| counted(number, "event"));
        assert_eq!(told, ["0 events", "1 event", "2 events"]);
    }

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(printable("a\x1b[31mb\tc\nd"), "a\\u{1b}[31mb\\tc\nd");
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{200b}"), "a\\u{202e}b\\u{2028}c\\u{200b}");
        assert_eq!(printable("\u{e0041}é中"), "\\u{e0041}é中");
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{9b}31m", "\u{e0041}", "é\n\u{1b}"] });
        let printed = printable_json(&format!("{value:#}\n"));
        assert!(!printed.chars().any(|c| c != '\n' && super::is_hidden(c)), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }

    #[test]
    fn colours_are_off_unless_on() {
        assert_eq!(paint(false, RED, "x"), "x");
        assert_eq!(paint(true, RED, "x"), "\x1b[31mx\x1b[0m");
    }
}
