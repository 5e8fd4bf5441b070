//! Results as tables like those of the old client, as JSON, as YAML.

use std::io::Write;

use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};
use ratatui::text::Line;
use serde_json::{Map, Value};

use super::error::CliError;
use super::options::Format;
use super::terminal::{self, printable, printable_json};
use crate::text::is_hidden;

/// `+---+` everywhere, as the old client's tables have it.
const STYLE: TableStyle =
    presets::ASCII_FULL_CONDENSED.header_separator(LineStyle::new('+', '-', '+', '+'));

/// Narrower than this no cell is cut.
const MIN_CELL: usize = 8;

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
    list_with(format, columns, &[], rows)
}

/// The same with further columns, which the old client does not have: nothing in them is written
/// as Python writes it. On a terminal a table is as wide as that, and cells are cut for it.
///
/// # Errors
/// When writing to stdout fails.
pub fn list_with(
    format: Format,
    columns: &[&str],
    further: &[&str],
    rows: &[Value],
) -> Result<(), CliError> {
    if format != Format::Table {
        return structured(format, &Value::from(rows.to_vec()));
    }
    let of = |row: &Value, column: &str, text: fn(&Value) -> String| {
        row.get(column).map(text).unwrap_or_default()
    };
    let cells = |row: &Value| -> Vec<String> {
        let old = columns.iter().map(|column| of(row, column, cell));
        old.chain(further.iter().map(|column| of(row, column, plain))).collect()
    };
    let header = [columns, further].concat();
    let mut rows: Vec<_> = rows.iter().map(cells).collect();
    if let Some(width) = terminal::width() {
        fit(&header, &mut rows, width);
    }
    print(&rendered(&header, rows.into_iter(), None))
}

/// Cuts cells so that a table is at most so wide: those of the widest columns, but no UUID and no
/// time.
fn fit(header: &[&str], rows: &mut [Vec<String>], width: usize) {
    let wide = |text: &str| Line::raw(text).width();
    let mut widths: Vec<_> = header.iter().map(|name| wide(name)).collect();
    for row in rows.iter_mut() {
        for (most, cell) in widths.iter_mut().zip(row) {
            *cell = cell.replace('\n', "\\n");
            *most = wide(cell).max(*most);
        }
    }
    let least: Vec<_> = header.iter().map(|name| wide(name).max(MIN_CELL)).collect();
    loop {
        // Each column has two blanks and a line.
        let all = widths.iter().map(|width| width + 3).sum::<usize>() + 1;
        let may_shrink = header.iter().zip(widths.iter_mut()).zip(&least);
        let widest = may_shrink
            .filter(|((name, width), least)| !is_whole(name) && **width > **least)
            .map(|((name, width), _)| (name, width))
            // What happened is cut last.
            .max_by_key(|(name, width)| (**name != "event", **width))
            .map(|(_, width)| width);
        match widest {
            Some(widest) if all > width => *widest -= 1,
            _ => break,
        }
    }
    for row in rows {
        for (cell, width) in row.iter_mut().zip(&widths) {
            *cell = cut(cell, *width);
        }
    }
}

/// Whether the cells of a column say nothing when they are cut.
fn is_whole(name: &str) -> bool {
    name.ends_with("uuid") || name == "time"
}

/// A line that is at most so wide, with `…` for what is cut off.
fn cut(line: &str, width: usize) -> String {
    if Line::raw(line).width() <= width {
        return line.to_owned();
    }
    let mut kept = String::new();
    for character in line.chars() {
        kept.push(character);
        if Line::raw(kept.as_str()).width() >= width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
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
    print(&rendered(&["Property", "Value"], rows, terminal::width()))
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

/// A table with its line end; long cells go over several lines in a table of a given width.
fn rendered(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    width: Option<usize>,
) -> String {
    let mut table = Table::new();
    if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
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

/// The text of a cell that the old client does not have.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => printable(&other.to_string()),
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
            rendered(&["uuid", "name"], rows.into_iter(), None),
            "+------+------+\n\
             | uuid | name |\n\
             +------+------+\n\
             | 1    | web  |\n\
             +------+------+\n"
        );
    }

    #[test]
    fn a_table_fits_its_terminal_and_keeps_its_uuids() {
        let uuid = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f".to_owned();
        let header = ["uuid", "name", "status"];
        let long = || vec![uuid.clone(), "wört".repeat(20), "Running".to_owned()];
        let mut rows = vec![long(), vec![uuid.clone(), "b".to_owned(), "Stopped".to_owned()]];
        fit(&header, &mut rows, 80);
        let table = rendered(&header, rows.clone().into_iter(), None);
        let widths: Vec<_> = table.lines().map(|line| Line::raw(line).width()).collect();
        assert_eq!(widths, [80; 6], "{table}");
        assert!(rows[0][1].starts_with("wörtwört") && rows[0][1].ends_with('…'), "{table}");
        assert_eq!((rows[0][0].as_str(), rows[1][1].as_str()), (uuid.as_str(), "b"));
        // What happened is read down to the second.
        let time = "2026-11-30 18:07:26";
        let event = |details: &str| {
            ["14", time, "create_requested", "anonymous", details].map(str::to_owned).to_vec()
        };
        let mut rows = vec![event("name=demo image=busybox:local command=\"sleep 60\"")];
        let header_of_events = ["position", "time", "event", "by", "details"];
        fit(&header_of_events, &mut rows, 80);
        let table = rendered(&header_of_events, rows.clone().into_iter(), None);
        assert!(table.lines().all(|line| Line::raw(line).width() == 80), "{table}");
        assert_eq!(rows[0][1..4], [time, "create_requested", "anonymous"]);
        // What cannot fit is as narrow as it may be.
        let mut rows = vec![long()];
        fit(&header, &mut rows, 20);
        assert_eq!(rows[0], [uuid.as_str(), "wörtwör…", "Running"]);
    }

    #[test]
    fn cells_that_are_new_are_not_pythons() {
        let value = json!({ "a": null, "b": ["x", 1], "c": true, "d": "it's" });
        let cells = ["a", "b", "c", "d"].map(|name| plain(&value[name]));
        assert_eq!(cells, ["", "x, 1", "true", "it's"]);
    }

    #[test]
    fn an_empty_list_is_a_header() {
        assert_eq!(
            rendered(&["uuid"], std::iter::empty(), None),
            "+------+\n| uuid |\n+------+\n+------+\n"
        );
    }
}
