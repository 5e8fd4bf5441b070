//! A condition on an object, in the Common Expression Language: `status == "Error"`.
//!
//! Its variables are the fields of the view, including those in `head` (`revision`, `updated_at`),
//! and `state` for the actor's state. Not here: when it became true (`find`).

use cel::{Context, ExecutionError, Program};
use serde_json::{Map, Value};

use super::ReplayError;
use super::object::Object;

/// Most bytes of a condition: some twenty comparisons; the parser itself bounds how deep they nest.
pub const MAX_BYTES: usize = 1024;

/// What the actor holds, in a condition.
const STATE: &str = "state";

/// A condition that was read.
pub struct Condition {
    program: Program,
    /// The names in it that are fields.
    names: Vec<String>,
    functions: Context<'static, 'static>,
}

/// Why a condition is neither true nor false of an object.
#[derive(Debug)]
pub enum Undecided {
    /// It cannot be meant; it never will be true or false.
    Invalid(String),
    /// Objects of this noun have no such field.
    NoField(String),
    /// A field has no value, or one of another type, just now.
    NotNow(String),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// When it cannot be meant, in words that say where.
    pub fn read(text: &str) -> Result<Self, ReplayError> {
        let wrong = |why: &str| {
            ReplayError::Invalid(format!(
                "'{text}' is not a condition: {why}. Examples: status == \"Error\", or \
                 exit_code != 0 && name.startsWith(\"web\")."
            ))
        };
        if text.len() > MAX_BYTES {
            let why = format!("a condition may have at most {MAX_BYTES} bytes");
            return Err(ReplayError::Invalid(why));
        }
        let program = Program::compile(text).map_err(|errors| {
            let first = errors.errors.first();
            let why = first.map(|error| format!("{} (column {})", error.msg, error.pos.1));
            wrong(&why.unwrap_or_else(|| "it cannot be parsed".to_owned()))
        })?;
        let references = program.references();
        let mut names: Vec<String> =
            references.variables().into_iter().map(str::to_owned).collect();
        names.sort_unstable();
        drop(references);
        if names.is_empty() {
            return Err(wrong("it names no field of an object"));
        }
        Ok(Self { program, names, functions: Context::default() })
    }

    /// Whether it names what actors hold, besides what is shown.
    pub fn names_state(&self) -> bool {
        self.names.iter().any(|name| name == STATE)
    }

    /// Whether it is true of an object; not of one that is not there.
    ///
    /// # Errors
    /// Why it is neither true nor false.
    pub fn holds(&self, object: &dyn Object) -> Result<bool, Undecided> {
        object.view().map_or(Ok(false), |shown| self.holds_of(shown, || object.state()))
    }

    /// Whether it is true of what is shown of an object, and of what its actor holds.
    ///
    /// # Errors
    /// Why it is neither true nor false.
    pub fn holds_of(&self, shown: Value, state: impl Fn() -> Value) -> Result<bool, Undecided> {
        let Value::Object(mut fields) = shown else { return Ok(false) };
        // What is shown of an object is one level deep.
        for group in ["head", "fields"] {
            if let Some(Value::Object(inner)) = fields.remove(group) {
                fields.extend(inner);
            }
        }
        let mut scope = self.functions.new_inner_scope();
        for name in &self.names {
            let value = match fields.get(name) {
                Some(value) => value.clone(),
                None if name == STATE => state(),
                None => return Err(Undecided::NoField(unknown(name, &fields))),
            };
            scope
                .add_variable(name.as_str(), value)
                .map_err(|error| Undecided::NotNow(format!("{name}: {error}")))?;
        }
        match self.program.execute(&scope) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(Undecided::Invalid(format!(
                "the condition is {}, not true or false. Compare it with something.",
                other.type_of()
            ))),
            Err(error @ ExecutionError::UndeclaredReference(_)) => {
                Err(Undecided::Invalid(format!("the condition cannot be evaluated: {error}.")))
            }
            Err(error) => Err(Undecided::NotNow(error.to_string())),
        }
    }
}

fn unknown(name: &str, fields: &Map<String, Value>) -> String {
    let names: Vec<&str> = fields.keys().map(String::as_str).chain([STATE]).collect();
    format!("there is no field {name}. There are: {}.", names.join(", "))
}
