//! Command lines, split and joined exactly as Python's `shlex.split` and `shlex.join` do, with
//! which Magnum has read them since 2015: words are separated by spaces, tabs and line ends, quotes
//! and backslashes work as in a POSIX shell, and nothing else means anything. `#` begins no
//! comment.

use std::fmt::Write as _;

/// Why a line cannot be split, in Python's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// A quote that is not closed.
    #[error("No closing quotation")]
    Quote,
    /// A backslash at the end.
    #[error("No escaped character")]
    Escape,
}

/// The words of a line.
///
/// # Errors
/// When it ends within quotes or after a backslash.
pub fn split(line: &str) -> Result<Vec<String>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => {
                let escaped = characters.next().ok_or(Unfinished::Escape)?;
                word.get_or_insert_default().push(escaped);
            }
            '\'' | '"' => quoted(character, &mut characters, word.get_or_insert_default())?,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Adds what is between quotes, of which the first was taken. Within double quotes a backslash
/// escapes those and itself; elsewhere it stands for itself.
fn quoted(
    quote: char,
    characters: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), Unfinished> {
    while let Some(character) = characters.next() {
        if character == quote {
            return Ok(());
        }
        if character == '\\' && quote == '"' {
            let escaped = characters.next().ok_or(Unfinished::Escape)?;
            if !matches!(escaped, '"' | '\\') {
                word.push('\\');
            }
            word.push(escaped);
        } else {
            word.push(character);
        }
    }
    Err(Unfinished::Quote)
}

/// A line that [`split`] and any shell make these words of.
pub fn join<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let mut line = String::new();
    for word in words {
        let word = word.as_ref();
        if !line.is_empty() {
            line.push(' ');
        }
        if word.is_empty() || word.chars().any(needs_quotes) {
            let _ = write!(line, "'{}'", word.replace('\'', r#"'"'"'"#));
        } else {
            line.push_str(word);
        }
    }
    line
}

/// Whether a character means something to some shell.
const fn needs_quotes(character: char) -> bool {
    !(character.is_ascii_alphanumeric()
        || matches!(character, '_' | '@' | '%' | '+' | '=' | ':' | ',' | '.' | '/' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_a_comment() {
        let line = "echo --color #ff0000 --size 3";
        assert_eq!(split(line).unwrap(), ["echo", "--color", "#ff0000", "--size", "3"]);
        assert_eq!(join(["echo", "#a", "a b", "it's", ""]), r#"echo '#a' 'a b' 'it'"'"'s' ''"#);
    }

    #[test]
    fn a_backslash_keeps_a_line_end_and_needs_something_after_it() {
        assert_eq!(split("a\\\nb").unwrap(), ["a\nb"]);
        assert_eq!(split("\"a\\\nb\"").unwrap(), ["a\\\nb"]);
        assert_eq!(split("a\\"), Err(Unfinished::Escape));
        assert_eq!(split("\"a\\"), Err(Unfinished::Escape));
        assert_eq!(split("'a\\").unwrap_err().to_string(), "No closing quotation");
    }
}
