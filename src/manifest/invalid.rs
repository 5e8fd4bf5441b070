//! What is wrong with a manifest, and in which field.

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// Where, as Kubernetes writes it: `spec.containers[0].image`; `None` for the whole.
    pub field: Option<String>,
    /// A sentence for people, which names the field as well. It repeats no value that may be
    /// secret.
    pub message: String,
}

impl Invalid {
    /// The manifest as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { field: None, message: message.into() }
    }

    /// A field; `what` says what is wrong with it, beginning with a small letter.
    pub(super) fn at(field: impl Into<String>, what: &str) -> Self {
        let field = field.into();
        Self { message: format!("{field}: {what}."), field: Some(field) }
    }

    /// A field that must be there, in the words of 2015:
    /// `Field metadata['name'] can't be empty in manifest.`
    pub(super) fn empty(field: &str) -> Self {
        let (first, rest) = field.split_at(field.find('.').unwrap_or(field.len()));
        let mut name = first.to_owned();
        for part in rest.split('.').skip(1) {
            let (part, index) = part.split_at(part.find('[').unwrap_or(part.len()));
            name += &format!("['{part}']{index}");
        }
        let message = format!("Field {name} can't be empty in manifest.");
        Self { field: Some(field.to_owned()), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_named_as_in_2015() {
        for (field, words) in [
            ("metadata.name", "Field metadata['name'] can't be empty in manifest."),
            (
                "spec.containers[1].image",
                "Field spec['containers'][1]['image'] can't be empty in manifest.",
            ),
        ] {
            let invalid = Invalid::empty(field);
            assert_eq!(invalid.to_string(), words);
            assert_eq!(invalid.field.as_deref(), Some(field));
        }
    }
}
