//! A condition on an object, in the Common Expression Language: `status == "Error"`.
//!
//! Its variables are the fields of the view, including those in `head` (`revision`, `updated_at`),
//! and `state` for the actor's state. Whoever may read may send one, and it is evaluated for each
//! event, so its cost is bounded before that: see [`bounded`]. Not here: when it became true
//! (`find`).

use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::{Context, ExecutionError, IdedExpr, Program};
use serde_json::{Map, Value};

use super::ReplayError;
use super::object::Object;

/// Most bytes of a condition: some twenty comparisons; the parser itself bounds how deep they nest.
pub const MAX_BYTES: usize = 1024;

/// Deepest nesting of a condition that is evaluated, by recursion: ten times what people write. The
/// parser balances chains of `||` and `&&`, so these may have as many parts as fit.
const MAX_DEPTH: usize = 64;

/// Most bytes of a message about a condition: some contain values, which may be large.
const MAX_WORDS: usize = 256;

/// Operators that a condition may have. `+` also joins texts and lists.
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];

/// Functions that a condition may call: each takes time and room in proportion to its arguments.
const FUNCTIONS: [&str; 10] = [
    "contains",
    "startsWith",
    "endsWith",
    "size",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "type",
];

/// Why the macros of CEL that go through a list or a map are refused: they nest, so they multiply.
const NO_LOOPS: &str = "loops (all, exists, exists_one, map, filter) are not allowed; to look into \
    a list or a map, use in, such as \"80:80\" in ports";

/// Why the form of CEL that makes messages is refused: there are none here.
const NO_STRUCTURES: &str = "structures are not allowed";

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
        bounded(program.expression(), 0).map_err(|why| wrong(&why))?;
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
                .map_err(|error| Undecided::NotNow(short(&format!("{name}: {error}"))))?;
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
            Err(error) => Err(Undecided::NotNow(short(&error.to_string()))),
        }
    }
}

/// Refuses what could cost more than its text and the values of the fields that it names. Answers
/// whether it names none.
///
/// Without loops each part is evaluated once, so there are at most as many steps as bytes. Without
/// joining two fields, or putting them into a list, no value gets larger than the largest field and
/// the text together.
fn bounded(part: &IdedExpr, depth: usize) -> Result<bool, String> {
    if depth > MAX_DEPTH {
        return Err(format!("it is nested more than {MAX_DEPTH} levels deep"));
    }
    match &part.expr {
        Expr::Literal(_) => Ok(true),
        Expr::Ident(_) => Ok(false),
        Expr::Select(select) => bounded(&select.operand, depth + 1),
        Expr::List(list) => constants(&list.elements.iter().collect::<Vec<_>>(), depth + 1),
        Expr::Map(map) => {
            let parts = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Ok([&entry.key, &entry.value]),
                EntryExpr::StructField(_) => Err(NO_STRUCTURES.to_owned()),
            });
            constants(&parts.collect::<Result<Vec<_>, _>>()?.concat(), depth + 1)
        }
        Expr::Call(call) => bounded_call(call, depth),
        Expr::Comprehension(_) => Err(NO_LOOPS.to_owned()),
        Expr::Struct(_) | Expr::Unspecified => Err(NO_STRUCTURES.to_owned()),
    }
}

/// The parts of a list or a map, which may not name fields.
fn constants(parts: &[&IdedExpr], depth: usize) -> Result<bool, String> {
    for part in parts {
        if !bounded(part, depth)? {
            return Err("a list or a map in it may not contain fields".to_owned());
        }
    }
    Ok(true)
}

/// An operator or a function, and its arguments.
fn bounded_call(call: &CallExpr, depth: usize) -> Result<bool, String> {
    let name = call.func_name.as_str();
    if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
        let known = FUNCTIONS.join(", ");
        return Err(format!("there is no function {}; there are {known}", short(name)));
    }
    let (mut all, mut any) = (true, false);
    for part in call.target.iter().map(AsRef::as_ref).chain(&call.args) {
        let is_constant = bounded(part, depth + 1)?;
        (all, any) = (all && is_constant, any || is_constant);
    }
    if name == operators::ADD && !any {
        return Err("one side of + must be without fields".to_owned());
    }
    Ok(all)
}

/// A message of bounded length.
fn short(words: &str) -> String {
    if words.len() <= MAX_WORDS {
        return words.to_owned();
    }
    let end = (0..=MAX_WORDS).rev().find(|end| words.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", words.get(..end).unwrap_or_default())
}

fn unknown(name: &str, fields: &Map<String, Value>) -> String {
    let names: Vec<&str> = fields.keys().map(String::as_str).chain([STATE]).collect();
    format!("there is no field {name}. There are: {}.", names.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(text: &str) -> String {
        let read = Condition::read(text).map(drop);
        match read {
            Err(ReplayError::Invalid(words)) => words,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Each level holds the one before twice.
    fn nested(levels: usize, level: impl Fn(&str) -> String) -> String {
        (0..levels).fold("status".to_owned(), |inner, _| level(&inner))
    }

    #[test]
    fn what_could_multiply_is_refused_before_it_runs() {
        let long_chain = vec!["status"; 30].join("+");
        for (hostile, words) in [
            (nested(26, |s| format!("[{s}].map(name,name+name)[0]")) + "==\"\"", "loops"),
            (nested(8, |s| format!("[0,1,2,3,4,5,6,7,8,9].all(a,{s}!='')")), "loops"),
            ("[1,2].exists(i, i == revision)".to_owned(), "loops"),
            ("[1,2].exists_one(i, i == revision)".to_owned(), "loops"),
            ("labels.filter(l, l == 'x') == []".to_owned(), "loops"),
            ("status == 'x' || !(ports.exists(p, p == ''))".to_owned(), "loops"),
            ("size([status, ports.map(p, p)]) > 0".to_owned(), "a list or a map"),
            ("name + name == ''".to_owned(), "one side of +"),
            (long_chain + " == ''", "one side of +"),
            ("(name + 'a') + ('b' + name) == ''".to_owned(), "one side of +"),
            ("string(name + string(labels)) == ''".to_owned(), "one side of +"),
            ("size([labels, labels, labels]) == 3".to_owned(), "a list or a map"),
            ("{'a': labels} == {}".to_owned(), "a list or a map"),
            ("{name: 1} == {}".to_owned(), "a list or a map"),
            ("name.matches('(a+)+$')".to_owned(), "there is no function matches"),
            ("name.replace('a', 'aaaa') == ''".to_owned(), "there is no function replace"),
            ("optional.of(name) == name".to_owned(), "there is no function of"),
            (format!("revision{} > 0", "+1".repeat(300)), "nested more than"),
            (format!("state{} == 1", "[0]".repeat(300)), "nested more than"),
            (format!("name == '{}'", "x".repeat(2000)), "at most 1024 bytes"),
        ] {
            let refusal = refusal(&hostile);
            assert!(refusal.contains(words), "{hostile}: {refusal}");
        }
        // Whatever the parser makes of these, they are not evaluated without an end in sight.
        for deep in ["(", "!", "-", "[", "{", "!!("] {
            drop(Condition::read(&format!("{}status", deep.repeat(300))));
        }
    }

    #[test]
    fn what_people_ask_is_evaluated() {
        let shown = json!({
            "head": { "revision": 3, "project": "p" },
            "fields": {
                "name": "web", "status": "Error", "exit_code": 137, "oom_killed": true,
                "ports": ["80:80"], "labels": { "tier": "front" },
            },
        });
        let state = || json!({ "status": "Error", "restarts": 2 });
        let any = vec!["status == 'x'"; 60].join("||") + " || name == 'web'";
        for text in [
            "status == \"Error\"",
            "exit_code == 137 && oom_killed",
            "name.startsWith(\"web\")",
            "exit_code != 0 && name.startsWith(\"web\")",
            "state.restarts > 1",
            "state.restarts + 1u == 3u",
            "int(revision) - 1 == 2 && revision * 2u < 10 && -int(revision) < 0",
            "name + '-1' == 'web-1'",
            "'80:80' in ports && !('81:81' in ports)",
            "ports[0].endsWith(':80')",
            "'tier' in labels && labels.tier == 'front'",
            "has(labels.tier) ? labels['tier'].contains('ron') : false",
            "status in ['Error', 'Unknown'] && size(ports) == 1",
            "string(exit_code) == '137'",
            &any,
        ] {
            let holds = Condition::read(text).unwrap().holds_of(shown.clone(), state);
            assert!(matches!(holds, Ok(true)), "{text}: {holds:?}");
        }
    }

    #[test]
    fn a_large_value_is_not_repeated_in_a_message() {
        let shown = json!({ "name": "x".repeat(1 << 20) });
        let condition = Condition::read("name > 1").unwrap();
        let undecided = condition.holds_of(shown, || Value::Null);
        assert!(matches!(&undecided, Err(Undecided::NotNow(words)) if words.len() < 300));
    }
}
