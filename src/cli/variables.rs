//! Environment variables of a container, without their values on the command line, which other
//! users of the machine can read while the command runs.
//!
//! Not here: what a variable may be called; the server says so.

use std::fs::File;
use std::io::Read;

use super::error::CliError;

/// Largest file: what the server takes as a body.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A variable with its value, or the name of one whose value this process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    name: String,
    value: Option<String>,
}

impl Variable {
    /// The name and the value; `own` is the environment that a missing value is taken from.
    fn resolved(
        self,
        own: impl Fn(&str) -> Result<String, std::env::VarError>,
    ) -> Result<(String, String), CliError> {
        let Self { name, value } = self;
        let value = match value {
            Some(value) => value,
            None => own(&name).map_err(|error| {
                let why = match error {
                    std::env::VarError::NotPresent => "is not set",
                    std::env::VarError::NotUnicode(_) => "is not valid UTF-8",
                };
                CliError::Usage(format!("{name} {why} in the environment of this command"))
            })?,
        };
        Ok((name, value))
    }
}

/// `NAME=VALUE`, or `NAME` alone.
pub fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("must be NAME or NAME=VALUE".to_owned());
    }
    Ok(Variable { name: name.to_owned(), value })
}

/// The variables of these files and, after them, those that were given one by one; of equal names
/// the last one counts.
///
/// # Errors
/// When a file cannot be read, or a value is nowhere.
pub fn resolve(files: &[String], given: &[Variable]) -> Result<Vec<(String, String)>, CliError> {
    let mut all = Vec::new();
    for path in files {
        let failed = |why: String| CliError::Failed(format!("{path}: {why}"));
        all.extend(match path.as_str() {
            "-" => read("stdin", std::io::stdin())?,
            _ => read(path, File::open(path).map_err(|error| failed(error.to_string()))?)?,
        });
    }
    all.extend_from_slice(given);
    all.into_iter().map(|variable| variable.resolved(|name| std::env::var(name))).collect()
}

/// The variables of a file in Docker's format: one a line, values as they are; empty lines and
/// those that begin with # say nothing. No message has a value in it.
fn read(from: &str, source: impl Read) -> Result<Vec<Variable>, CliError> {
    let failed = |why: String| CliError::Failed(format!("{from}: {why}"));
    let mut text = String::new();
    let mut limited = source.take(MAX_FILE_BYTES.saturating_add(1));
    limited.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = (1..).zip(text.lines().map(str::trim_start));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let each = lines.map(|(number, line)| {
        let variable = variable(line).map_err(|why| failed(format!("line {number}: {why}")))?;
        if variable.name.contains(char::is_whitespace) {
            return Err(failed(format!("line {number}: the name contains whitespace")));
        }
        Ok(variable)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        let own = |name: &str| match name {
            "OWN" => Ok("mine".to_owned()),
            _ => Err(std::env::VarError::NotPresent),
        };
        let all = read("f", text.as_bytes()).map_err(|error| error.message())?;
        let all = all.into_iter().map(|variable| variable.resolved(own));
        all.collect::<Result<_, _>>().map_err(|error| error.message())
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = "\u{feff}A=1\n# B=2\n\n  C= x=\"y\" # z \r\nOWN\nD=\n";
        let expected = [("A", "1"), ("C", " x=\"y\" # z "), ("OWN", "mine"), ("D", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (text, words) in [
            ("A=1\n=secret", "f: line 2: must be NAME or NAME=VALUE"),
            ("A B=secret", "f: line 1: the name contains whitespace"),
            ("NONE", "NONE is not set in the environment of this command"),
        ] {
            assert_eq!(pairs(text).unwrap_err(), words);
        }
        let long = format!("A={}", "x".repeat(1 << 20));
        assert_eq!(pairs(&long).unwrap_err(), "f: larger than 1048576 bytes");
        assert!(read("f", &b"A=\xff"[..]).is_err());
    }
}
