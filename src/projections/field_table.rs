//! The table of a noun's fields: one row a field. What a POST may have, what a PATCH may change
//! and what an update sets, what is shown of an object, what lists show, filter and sort by, and
//! what the OpenAPI document says of all that is made of it.
//!
//! Not here: how a value that a client writes is checked (`http/input`), how rows become JSON
//! and schemas (`http/shape`).

use utoipa::PartialSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::View;
pub use super::held::{Held, OneStatus, Settable, UuidText, nullable, or_null};

/// Largest count: what a column of the 2015 database holds.
pub const MAX_COUNT: u64 = 0x7fff_ffff;

/// One field of a noun, whose view is `V`.
pub struct FieldDef<V> {
    /// Its name in the REST API.
    pub name: &'static str,
    /// What it means, where the name does not say it; otherwise empty.
    pub meaning: &'static str,
    /// Its value.
    pub get: for<'a> fn(&'a V) -> Held<'a>,
    /// The schema of what is shown; `None` if it is not shown.
    pub schema: Option<fn() -> RefOr<Schema>>,
    /// Whether it may be `null`.
    pub is_optional: bool,
    /// Whether the layer above has its value.
    is_made_elsewhere: bool,
    /// Whether lists show it.
    pub is_listed: bool,
    /// How lists filter and sort by it, if they do.
    pub filter: Option<SortAs>,
    /// What a POST may have.
    pub given: Option<Given>,
    /// What a PATCH may do to it.
    pub patch: Patch,
    /// Sets it to the JSON text that an update holds; `null` clears it.
    pub set: Option<fn(&mut V, &str)>,
}

/// How lists compare a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortAs {
    /// As text.
    Text,
    /// As a whole number.
    Number,
}

/// What a POST may have in a field.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// What it may hold.
    pub rule: Rule,
    /// Whether a POST must have it.
    pub is_mandatory: bool,
    /// Another name that some clients use.
    pub alias: Option<&'static str>,
    /// Whether errors never repeat its value.
    pub is_secret: bool,
    /// What it means there.
    pub meaning: &'static str,
}

/// What a PATCH may do to a field.
#[derive(Clone, Copy, Debug)]
pub enum Patch {
    /// The field is unknown to it.
    No,
    /// Only the service sets it, and a PATCH is told so.
    Internal,
    /// Set it to what the rule allows, and remove it unless it is mandatory.
    Set {
        /// What it may hold.
        rule: Rule,
        /// Whether it cannot be removed.
        is_mandatory: bool,
    },
}

/// What clients may write into a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A name: 1 to 255 bytes without hidden characters.
    Name,
    /// A text: 1 to 4096 bytes without characters that mislead.
    Text,
    /// A whole number from, to.
    Integer(u64, u64),
    /// A canonical uuid.
    Uuid,
    /// A canonical uuid for a new object: not of version 5, which the service derives.
    NewUuid,
    /// An IPv4 address.
    Ipv4,
    /// An image reference.
    Image,
    /// A command: its words, or a line that is split as a shell would.
    Command,
    /// The same, as the line that is shown.
    CommandLine,
    /// Environment variables.
    Variables,
    /// Labels.
    Labels,
    /// Published ports.
    Ports,
    /// A size in bytes, also with a unit.
    Memory,
    /// A number of CPUs.
    Cpus,
    /// An absolute folder.
    Folder,
    /// A user of a container, and a group.
    User,
    /// When the engine starts it again.
    RestartPolicy,
    /// A manifest: a text, or an object.
    Manifest,
    /// An address of the web.
    Url,
    /// Only the service sets it.
    ReadOnly,
}

impl<V> FieldDef<V> {
    /// A field that every object has.
    pub const fn new<T: PartialSchema>(
        name: &'static str,
        get: for<'a> fn(&'a V) -> Held<'a>,
    ) -> Self {
        Self {
            name,
            meaning: "",
            get,
            schema: Some(T::schema),
            is_optional: false,
            is_made_elsewhere: false,
            is_listed: false,
            filter: None,
            given: None,
            patch: Patch::No,
            set: None,
        }
    }

    /// A field that may be `null`.
    pub const fn optional<T: PartialSchema>(
        name: &'static str,
        get: for<'a> fn(&'a V) -> Held<'a>,
    ) -> Self {
        Self { is_optional: true, schema: Some(nullable::<T>), ..Self::new::<T>(name, get) }
    }

    /// A field that a view keeps in one place; written as [`field!`](crate::field).
    pub const fn at<T: Settable>(
        name: &'static str,
        _place: for<'a> fn(&'a V) -> &'a T,
        get: for<'a> fn(&'a V) -> Held<'a>,
        set: fn(&mut V, &str),
    ) -> Self {
        Self {
            is_optional: T::IS_OPTIONAL,
            schema: Some(T::schema),
            set: Some(set),
            ..Self::new::<String>(name, get)
        }
    }

    /// A field whose value and schema the layer above has.
    pub const fn made_elsewhere(name: &'static str, schema: fn() -> RefOr<Schema>) -> Self {
        let field = Self::new::<String>(name, |_| Held::Nothing);
        Self { schema: Some(schema), is_made_elsewhere: true, ..field }
    }

    /// Whether the layer above has its value.
    pub const fn is_made_elsewhere(&self) -> bool {
        self.is_made_elsewhere
    }

    /// A field that a POST may have and nothing shows.
    pub const fn hidden(name: &'static str) -> Self {
        Self { schema: None, ..Self::new::<String>(name, |_| Held::Nothing) }
    }

    /// With what it means.
    #[must_use]
    pub const fn means(self, meaning: &'static str) -> Self {
        Self { meaning, ..self }
    }

    /// With another schema than that of its type.
    #[must_use]
    pub const fn schema(self, schema: fn() -> RefOr<Schema>) -> Self {
        Self { schema: Some(schema), ..self }
    }

    /// Lists show it.
    #[must_use]
    pub const fn listed(self) -> Self {
        Self { is_listed: true, ..self }
    }

    /// Lists show it, and filter and sort by it as text.
    #[must_use]
    pub const fn in_lists(self) -> Self {
        self.listed().filter(SortAs::Text)
    }

    /// Lists filter and sort by it.
    #[must_use]
    pub const fn filter(self, filter: SortAs) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// A POST may have it; `meaning` is what it means there.
    #[must_use]
    pub const fn given(self, rule: Rule, meaning: &'static str) -> Self {
        let given = Given { rule, is_mandatory: false, alias: None, is_secret: false, meaning };
        Self { given: Some(given), ..self }
    }

    /// A POST must have it; `meaning` is what it means there.
    #[must_use]
    pub const fn needed(self, rule: Rule, meaning: &'static str) -> Self {
        let given = Given { rule, is_mandatory: true, alias: None, is_secret: false, meaning };
        Self { given: Some(given), ..self }
    }

    /// A POST may have it by another name too.
    #[must_use]
    pub const fn or(mut self, alias: &'static str) -> Self {
        if let Some(given) = &mut self.given {
            given.alias = Some(alias);
        }
        self
    }

    /// Errors never repeat its value.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        if let Some(given) = &mut self.given {
            given.is_secret = true;
        }
        self
    }

    /// Only the service sets it, and a PATCH is told so.
    #[must_use]
    pub const fn internal(self) -> Self {
        Self { patch: Patch::Internal, ..self }
    }

    /// A PATCH may set and remove it.
    #[must_use]
    pub const fn patched(self, rule: Rule) -> Self {
        Self { patch: Patch::Set { rule, is_mandatory: false }, ..self }
    }

    /// A PATCH may set it, not remove it.
    #[must_use]
    pub const fn kept(self, rule: Rule) -> Self {
        Self { patch: Patch::Set { rule, is_mandatory: true }, ..self }
    }

    /// A POST may have it, and a PATCH may set and remove it.
    #[must_use]
    pub const fn writable(self, rule: Rule, meaning: &'static str) -> Self {
        self.given(rule, meaning).patched(rule)
    }

    /// How an update sets it.
    #[must_use]
    pub const fn set(self, set: fn(&mut V, &str)) -> Self {
        Self { set: Some(set), ..self }
    }
}

impl<V: View> FieldDef<V> {
    /// The work that an object waits for.
    pub const fn task() -> Self {
        Self { is_optional: true, ..Self::made_elsewhere("task", maybe_task) }
    }

    /// The id of an object; `meaning` is what it means in a POST.
    pub const fn uuid(meaning: &'static str) -> Self {
        Self::new::<UuidText>("uuid", |it| it.head().uuid.into())
            .in_lists()
            .given(Rule::NewUuid, meaning)
    }
}

/// A row for a field that a view keeps in one place: `field!("name", fields.name)`. An update can
/// set it there.
#[macro_export]
macro_rules! field {
    ($name:literal, $($place:ident).+) => {
        $crate::projections::field_table::FieldDef::<Self>::at(
            $name,
            |it| &it.$($place).+,
            |it| $crate::projections::field_table::Settable::held(&it.$($place).+),
            |it, new| $crate::projections::field_table::Settable::set(&mut it.$($place).+, new),
        )
    };
}

/// The schema of a list of what has a schema of its own.
pub fn list_of(name: &str) -> RefOr<Schema> {
    ArrayBuilder::new().items(Ref::from_schema_name(name)).into()
}

/// The schema of the work that an object waits for.
fn maybe_task() -> RefOr<Schema> {
    let mut task = Ref::from_schema_name("Task");
    "What it waits for.".clone_into(&mut task.description);
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    OneOfBuilder::new().item(task).item(nothing).into()
}

/// The names that a POST of a noun may use, in alphabetical order.
pub fn keys<V>(table: &[FieldDef<V>]) -> Vec<&'static str> {
    let given = table.iter().filter_map(|field| Some((field.name, field.given?)));
    let mut keys: Vec<_> =
        given.flat_map(|(name, given)| [Some(name), given.alias]).flatten().collect();
    keys.sort_unstable();
    keys
}

/// How many fields lists filter by, in all or as numbers.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
pub const fn filters<V>(table: &[FieldDef<V>], numbers_only: bool) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < table.len() {
        if is_filter(&table[at], numbers_only) {
            count += 1;
        }
        at += 1;
    }
    count
}

/// The names of fields that lists filter by, in all or as numbers.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
pub const fn filter_names<V, const N: usize>(
    table: &[FieldDef<V>],
    numbers_only: bool,
) -> [&'static str; N] {
    let (mut names, mut count, mut at) = ([""; N], 0, 0);
    while at < table.len() {
        if is_filter(&table[at], numbers_only) {
            names[count] = table[at].name;
            count += 1;
        }
        at += 1;
    }
    names
}

const fn is_filter<V>(field: &FieldDef<V>, numbers_only: bool) -> bool {
    match field.filter {
        None => false,
        Some(SortAs::Text) => !numbers_only,
        Some(SortAs::Number) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use serde_json::Value;
    use uuid::Uuid;

    use super::*;
    use crate::each_noun;
    use crate::ids::ObjectId;

    /// Names that the REST API has for what a view calls otherwise.
    const RENAMED: [(&str, &str); 8] = [
        ("bay_type", "type"),
        ("cpu_millis", "cpu"),
        ("desired_nodes", "desired"),
        ("docker_volume_size_gb", "docker_volume_size"),
        ("memory_bytes", "memory"),
        ("node_host", "node_addresses"),
        ("node_type", "type"),
        ("working_dir", "workdir"),
    ];

    /// Checks that a table has a row for everything that a view holds.
    fn is_complete<V: View + Default>() {
        let view = serde_json::to_value(V::default()).unwrap();
        let held = view.get("fields").unwrap_or(&view).as_object().unwrap();
        let rows: BTreeSet<&str> = V::TABLE.iter().map(|field| field.name).collect();
        assert_eq!(rows.len(), V::TABLE.len(), "a name that two rows have");
        for key in held.keys().filter(|key| {
            let unlisted = ["head", "tasks", "outcomes", "executions", "nodes_there", "published"];
            !unlisted.contains(&&***key)
        }) {
            let renamed = RENAMED.iter().find(|(old, _)| old == key).map(|(_, new)| *new);
            assert!(
                rows.contains(&**key) || renamed.is_some_and(|name| rows.contains(name)),
                "{} {key}: add a row",
                V::KIND
            );
        }
        for field in V::TABLE.iter().filter(|field| field.schema.is_some()) {
            let is_null = matches!((field.get)(&V::default()), Held::Nothing);
            assert!(!is_null || field.is_optional || field.is_made_elsewhere, "{}", field.name);
        }
    }

    #[test]
    fn tables_are_complete() {
        each_noun!(view V => is_complete::<V>());
    }

    /// Checks that whatever a PATCH may change, an update sets; and clears, if it may be removed.
    fn is_set<V: View + Default + Debug>() {
        for field in V::TABLE {
            let Patch::Set { rule, is_mandatory } = field.patch else { continue };
            let set = field.set.unwrap_or_else(|| panic!("{} {}: set it", V::KIND, field.name));
            let (mut view, empty) = (V::default(), V::default());
            let new = match rule {
                Rule::Integer(..) => "8080".to_owned(),
                _ => ObjectId(Uuid::from_u128(7)).to_string(),
            };
            set(&mut view, &format!("\"{new}\""));
            let text = |it: Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
            let wanted = view.wanted(field.name).map(text);
            assert_eq!(wanted.or_else(|| view.field(field.name)), Some(new));
            set(&mut view, "null");
            assert!(is_mandatory || view == empty, "{} {}: clear it", V::KIND, field.name);
        }
    }

    #[test]
    fn updates_set_what_a_patch_may_change() {
        each_noun!(view V => is_set::<V>());
    }
}
