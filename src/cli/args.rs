//! Arguments that many commands share: which objects, and what to change.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::error::CliError;

/// One object; the clients of 2014 wrote `--id`.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// Name or UUID
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    name: Option<String>,
    /// Name or UUID, as in 2014
    #[arg(long, value_name = "NAME|UUID", value_parser = ident)]
    id: Option<String>,
}

impl Target {
    /// What was typed.
    pub fn ident(&self) -> &str {
        self.name.as_deref().or(self.id.as_deref()).unwrap_or_default()
    }
}

/// One or more objects.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct Targets {
    /// Names or UUIDs
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    names: Vec<String>,
    /// Name or UUID, as in 2014
    #[arg(long, value_name = "NAME|UUID", value_parser = ident)]
    id: Vec<String>,
}

impl Targets {
    /// These, as if they had been typed.
    pub fn of(names: &[String]) -> Self {
        Self { names: names.to_vec(), id: Vec::new() }
    }

    /// What was typed, in its order.
    pub fn idents(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.id).map(String::as_str)
    }

    /// Whether it is more than one.
    pub fn many(&self) -> bool {
        self.names.len().saturating_add(self.id.len()) > 1
    }
}

/// A name that can be part of a path. An empty one would address the whole collection, and `.`
/// and `..` are resolved away.
pub fn ident(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a name or UUID must not be empty".to_owned()),
        "." | ".." => Err("this name cannot be part of a path; use the UUID".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// `NAME=VALUE`, also with the field of a filter as the name.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be a name and a value with = between them".to_owned()),
    }
}

/// What a change does to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Op {
    /// Set an attribute that is not set
    Add,
    /// Change an attribute that is set
    Replace,
    /// Unset an attribute
    Remove,
}

/// A change to an object.
#[derive(Args, Clone, Debug)]
pub struct Update {
    /// Name or UUID
    #[arg(value_name = "NAME|UUID", value_parser = ident)]
    pub name: String,
    /// What to do: add, replace or remove
    #[arg(value_enum, hide_possible_values = true)]
    op: Op,
    /// Attributes and values; for remove only the path. Values are parsed as JSON if possible
    #[arg(value_name = "PATH=VALUE", required = true)]
    attributes: Vec<String>,
}

impl Update {
    /// The JSON patch.
    ///
    /// # Errors
    /// When an attribute to be set has no value.
    pub fn patch(&self) -> Result<Value, CliError> {
        self.attributes.iter().map(|attribute| change(self.op, attribute)).collect()
    }
}

/// One line of a JSON patch: `node_count=4` sets the number 4, `name=x` the string.
fn change(op: Op, attribute: &str) -> Result<Value, CliError> {
    let (path, value) = match attribute.split_once('=') {
        Some((path, value)) => (path, Some(value)),
        None => (attribute, None),
    };
    let path = format!("/{}", path.trim_start_matches('/'));
    match (op, value) {
        (Op::Remove, _) => Ok(json!({ "path": path, "op": "remove" })),
        (_, None) => Err(CliError::Failed(format!(
            "Attributes must be a list of PATH=VALUE not \"{attribute}\""
        ))),
        (_, Some(text)) => {
            let value = serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
            let op = if op == Op::Add { "add" } else { "replace" };
            Ok(json!({ "path": path, "value": value, "op": op }))
        }
    }
}

/// A number of bytes with an optional unit: `512`, `64k`, `64m`, `1g`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower.get(digits.len()..).unwrap_or_default() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        unit => return Err(format!("{unit} is not a unit; use k, m or g")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{digits:?} is not a whole number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_if_possible() {
        let value = |text| change(Op::Replace, text).unwrap().get("value").cloned().unwrap();
        assert_eq!(value("node_count=4"), json!(4));
        assert_eq!(value("name=true"), json!(true));
        assert_eq!(value("name=web"), json!("web"));
        assert_eq!(value("name=a=b"), json!("a=b"));
        assert_eq!(value("name="), json!(""));
    }

    #[test]
    fn paths_start_with_one_slash_and_remove_needs_no_value() {
        let removed = json!({"path": "/name", "op": "remove"});
        assert_eq!(change(Op::Remove, "name").unwrap(), removed);
        assert_eq!(change(Op::Remove, "/name=x").unwrap(), removed);
        assert!(change(Op::Add, "name").is_err());
    }

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("1gib"), Ok(1 << 30));
        for bad in ["", "m", "-1", "1.5g", "1t", "99999999999g"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
