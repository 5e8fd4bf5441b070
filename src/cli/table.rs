//! Results as tables like those of the old client, as JSON, as YAML.

use std::io::Write;

use comfy_table::{LineStyle, Table, TableStyle, presets};
use serde_json::{Map, Value};

use super::error::CliError;
use super::options::Format;
use super::terminal::{printable, printable_json};
use crate::text::is_hidden;

/// `+---+` everywhere, as the old client's tables have it.
const STYLE: TableStyle =
    presets::ASCII_FULL_CONDENSED.header_separator(LineStyle::new('+', '-', '+', '+'));

/// Prints to stdout.
///
/// # Errors
/// When writing to stdout fails.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints rows of objects: the given columns as a table, or everything as JSON or YAML.
///
/// # Errors
/// When writing to stdout fails.
pub fn list(format: Format, columns: &[&str], rows: &[Value]) -> Result<(), CliError> {
    if format != Format::Table {
        return structured(format, &Value::from(rows.to_vec()));
    }
    let cell = |row: &Value, column: &&str| row.get(*column).map(cell).unwrap_or_default();
    let rows = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect());
    print(&rendered(columns, rows))
}

/// Prints one object: properties and values. Its links are for programs, and warnings are said
/// elsewhere.
///
/// # Errors
/// When writing to stdout fails.
pub fn show(format: Format, object: &Value) -> Result<(), CliError> {
    if format != Format::Table {
        return structured(format, object);
    }
    let empty = Map::new();
    let rows = object
        .as_object()
        .unwrap_or(&empty)
        .iter()
        .filter(|(name, _)| !["links", "warnings"].contains(&name.as_str()))
        .map(|(name, value)| vec![printable(name), cell(value)]);
    print(&rendered(&["Property", "Value"], rows))
}

/// A value as JSON or YAML.
fn structured(format: Format, value: &Value) -> Result<(), CliError> {
    if format == Format::Yaml {
        let yaml =
            serde_norway::to_string(value).map_err(|error| CliError::Failed(error.to_string()))?;
        // YAML can show hidden characters only as they are. JSON can escape them, and is YAML.
        if !yaml.chars().any(|character| character != '\n' && is_hidden(character)) {
            return print(&yaml);
        }
    }
    print(&printable_json(&format!("{value:#}\n")))
}

/// A table with its line end.
fn rendered(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec()).add_rows(rows);
    format!("{table}\n")
}

/// The text of a cell: strings unchanged, everything else as Python writes it, as in the old
/// client.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => printable(&python(other)),
    }
}

/// A value as Python writes it: `None`, `True`, `['a']`, `{'k': 1}`.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), python(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Text between the quotes that Python would choose.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if text.contains('\'') && !text.contains('"') {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_python_writes_them() {
        let value = json!({"a": ["x", "it's", null, true, 1.5], "b": {"c": "\"'"}});
        assert_eq!(python(&value), r#"{'a': ['x', "it's", None, True, 1.5], 'b': {'c': '"\''}}"#);
        assert_eq!(cell(&json!("plain")), "plain");
        assert_eq!(cell(&json!(null)), "None");
    }

    #[test]
    fn tables_look_like_those_of_the_old_client() {
        let rows = vec![vec!["1".to_owned(), "web".to_owned()]];
        assert_eq!(
            rendered(&["uuid", "name"], rows.into_iter()),
            "+------+------+\n\
             | uuid | name |\n\
             +------+------+\n\
             | 1    | web  |\n\
             +------+------+\n"
        );
    }

    #[test]
    fn an_empty_list_is_a_header() {
        assert_eq!(
            rendered(&["uuid"], std::iter::empty()),
            "+------+\n| uuid |\n+------+\n+------+\n"
        );
    }
}
