//! `container-create`: from a JSON document, from flags, or both; flags win.
//!
//! Not here: whether the values make sense; the server says so, naming the field.

use std::io::{IsTerminal, Read};
use std::sync::LazyLock;

use clap::Args;
use serde_json::{Map, Value, json};

use super::args::{ident, pair};
use super::error::CliError;
use super::noun::Session;
use super::variables::{self, Variable, variable};
use crate::ids::Kind;
use crate::projections::View;
use crate::projections::container::ContainerView;
use crate::projections::field_table::keys;

/// The keys that a document may have, those of 2014 and 2015 and ours, in order. Servers ignore
/// what they do not know, so a misspelt key would be lost silently.
static KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| keys(ContainerView::TABLE));

/// Largest document: what the server takes as a body.
const MAX_DOCUMENT_BYTES: u64 = 1 << 20;

/// What a container is made from.
#[derive(Args)]
pub struct ContainerCreate {
    /// JSON document of the container; - reads stdin, as does giving no option at all
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Image to create the container from
    #[arg(long, alias = "image-id", value_name = "IMAGE")]
    image: Option<String>,
    /// Command to run, quoted as for a shell [default: the image's own]
    #[arg(long)]
    command: Option<String>,
    /// Name or UUID of the bay [default: the built-in bay]
    #[arg(long, alias = "bay-id", value_name = "NAME|UUID", value_parser = ident)]
    bay: Option<String>,
    /// Environment variable; NAME alone has the value of this command's own environment. Other
    /// users of this machine can read values on a command line (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    env: Vec<Variable>,
    /// File of environment variables, one a line, as docker reads it; - reads stdin (repeatable)
    #[arg(long, value_name = "FILE|-")]
    env_file: Vec<String>,
    /// Port to publish: [[IP:]HOST:]CONTAINER[/PROTOCOL] (repeatable)
    #[arg(long, value_name = "8080:80/tcp")]
    port: Vec<String>,
    /// Label (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Memory limit: a number with the unit b, k, m or g; 0: none
    #[arg(long, value_name = "512m")]
    memory: Option<String>,
    /// CPU limit, in CPUs
    #[arg(long, value_name = "0.5")]
    cpu: Option<String>,
    /// Working directory of the command
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// User that the command runs as
    #[arg(long, value_name = "NAME|ID[:GROUP]")]
    user: Option<String>,
    /// Restart policy: no, always, on-failure[:N], unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
}

impl ContainerCreate {
    /// The body of the request.
    ///
    /// # Errors
    /// When the document cannot be read or is not one, or the bay is not there.
    pub async fn body(&self, session: &Session) -> Result<Value, CliError> {
        let stdin = self.env_file.iter().chain(&self.json).filter(|path| *path == "-");
        if stdin.count() > 1 {
            return Err(CliError::Usage("only one option can read stdin".to_owned()));
        }
        let mut body = self.document()?;
        if let Some(bay) = &self.bay {
            body.insert("bay_uuid".to_owned(), json!(session.uuid(Kind::Bay, bay).await?));
        }
        self.apply(&mut body, &variables::resolve(&self.env_file, &self.env)?);
        Ok(Value::Object(body))
    }

    /// The document: the given file; stdin if no option was given at all, as in 2015.
    fn document(&self) -> Result<Map<String, Value>, CliError> {
        match self.json.as_deref() {
            Some("-") => object("stdin", std::io::stdin()),
            Some(path) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| CliError::Failed(format!("cannot read {path}: {error}")))?;
                object(path, file)
            }
            None if self.is_empty() && !std::io::stdin().is_terminal() => {
                object("stdin", std::io::stdin())
            }
            None if self.is_empty() => Err(CliError::Usage(
                "at least an image is required: magnum container-create --image IMAGE".to_owned(),
            )),
            None => Ok(Map::new()),
        }
    }

    /// Whether no flag describes the container.
    fn is_empty(&self) -> bool {
        let mut body = Map::new();
        self.apply(&mut body, &[]);
        let is_named = self.bay.is_some() || !self.env.is_empty() || !self.env_file.is_empty();
        body.is_empty() && !is_named
    }

    /// Overrides fields with those from flags; variables and labels one by one.
    fn apply(&self, body: &mut Map<String, Value>, variables: &[(String, String)]) {
        let texts = [
            ("name", &self.name),
            ("image_id", &self.image),
            ("command", &self.command),
            ("memory", &self.memory),
            ("cpu", &self.cpu),
            ("workdir", &self.workdir),
            ("user", &self.user),
            ("restart_policy", &self.restart),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                body.insert(key.to_owned(), json!(value));
            }
        }
        if self.image.is_some() {
            // The other name of `image_id` must not contradict it.
            body.remove("image");
        }
        if !self.port.is_empty() {
            body.insert("ports".to_owned(), json!(self.port));
        }
        merge(body, "environment", variables);
        merge(body, "labels", &self.label);
    }
}

/// Adds pairs to an object or a list of `NAME=VALUE`, overriding equal names.
fn merge(body: &mut Map<String, Value>, key: &str, pairs: &[(String, String)]) {
    if pairs.is_empty() {
        return;
    }
    match body.entry(key).or_insert_with(|| json!({})) {
        Value::Object(fields) => {
            fields.extend(pairs.iter().map(|(name, value)| (name.clone(), json!(value))));
        }
        Value::Array(items) => {
            items.extend(pairs.iter().map(|(name, value)| json!(format!("{name}={value}"))));
        }
        other => *other = pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
    }
}

/// A document of known keys.
fn object(from: &str, source: impl Read) -> Result<Map<String, Value>, CliError> {
    let failed = |why: String| CliError::Failed(format!("{from}: {why}"));
    let mut text = String::new();
    let mut limited = source.take(MAX_DOCUMENT_BYTES.saturating_add(1));
    limited.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(failed(format!("larger than {MAX_DOCUMENT_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let value =
        serde_json::from_str(text).map_err(|error| failed(format!("not valid JSON: {error}")))?;
    let Value::Object(fields) = value else {
        return Err(failed("a JSON object is expected, as in {\"image_id\": \"busybox\"}".into()));
    };
    match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(failed(format!("unknown key {key}; Key must be in {}", KEYS.join(",")))),
        None => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: ContainerCreate,
    }

    fn over(document: Value, args: &[&str]) -> Value {
        let line = Line::try_parse_from([&["x"], args].concat()).unwrap();
        let mut body = document.as_object().unwrap().clone();
        let variables = variables::resolve(&[], &line.create.env).unwrap();
        line.create.apply(&mut body, &variables);
        Value::Object(body)
    }

    #[test]
    fn flags_win_over_the_document() {
        let document = json!({
            "name": "a", "image": "old", "command": "env",
            "environment": {"A": "1", "B": "2"}, "ports": ["1:1"],
        });
        let args = ["--image", "new", "--env", "B=3", "--env", "C=x=y", "--port", "8080:80/tcp"];
        assert_eq!(
            over(document, &args),
            json!({
                "name": "a", "image_id": "new", "command": "env",
                "environment": {"A": "1", "B": "3", "C": "x=y"}, "ports": ["8080:80/tcp"],
            })
        );
    }

    #[test]
    fn flags_add_to_lists_too() {
        let document = json!({"environment": ["A=1"], "labels": null});
        let args = ["--env", "A=2", "--label", "x=y"];
        let merged = json!({"environment": ["A=1", "A=2"], "labels": {"x": "y"}});
        assert_eq!(over(document, &args), merged);
    }

    #[test]
    fn documents_are_objects_of_known_keys() {
        let words = |text: &str| object("f", text.as_bytes()).unwrap_err().message();
        assert!(words("[]").contains("a JSON object"));
        assert!(words("{").contains("not valid JSON"));
        assert!(words("{\"imgae\": 1}").contains("unknown key imgae"));
        assert!(object("f", "{\"name\": null, \"desc\": \"d\"}".as_bytes()).is_ok());
        assert!(object("f", "\u{feff}{\"name\": \"a\"}".as_bytes()).is_ok());
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        assert!(words(&long).contains("larger than 1048576 bytes"));
    }
}
