//! References to variables, `$(NAME)`, in values, commands and arguments.
//!
//! As in `k8s.io/kubernetes/third_party/forked/golang/expansion` and the kubelet: `$$` stands for
//! `$`, a reference to what there is not stays as it is, and a value sees the variables before it.

use std::collections::BTreeMap;

use super::{FieldSource, PlannedContainer, Variable};

/// Longest value and argument, in bytes: what the kernel takes (`MAX_ARG_STRLEN`, 32 pages).
const MAX_WORD_BYTES: usize = 131_072;

/// Most bytes of all of them: what the kernel takes by default (a quarter of a stack of 8 MiB).
const MAX_ALL_BYTES: usize = 2 << 20;

/// What a container is started with, once the values of its variables are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// Variables in the order of their first appearance, each name once.
    pub environment: Vec<(String, String)>,
    /// See [`PlannedContainer::entrypoint`].
    pub entrypoint: Vec<String>,
    /// See [`PlannedContainer::args`].
    pub args: Vec<String>,
}

impl PlannedContainer {
    /// With all references expanded; `known` is what a field of the pod says.
    ///
    /// # Errors
    /// When it becomes more than the kernel takes; the text goes on after a colon.
    pub fn expanded(&self, known: impl Fn(&FieldSource) -> String) -> Result<Expanded, String> {
        let mut left_bytes = MAX_ALL_BYTES;
        let mut places = BTreeMap::new();
        let mut environment: Vec<(String, String)> = Vec::new();
        for (name, variable) in &self.environment {
            let value = match variable {
                Variable::Field(source) => known(source),
                Variable::Value(text) => {
                    expand(text, |name| value_of(&environment, &places, name), &mut left_bytes)?
                }
            };
            let place = *places.entry(name.as_str()).or_insert(environment.len());
            match environment.get_mut(place) {
                Some((_, there)) => *there = value,
                None => environment.push((name.clone(), value)),
            }
        }
        let mut words = |words: &[String]| -> Result<Vec<String>, String> {
            let value = |name: &str| value_of(&environment, &places, name);
            words.iter().map(|word| expand(word, value, &mut left_bytes)).collect()
        };
        let (entrypoint, args) = (words(&self.entrypoint)?, words(&self.args)?);
        Ok(Expanded { environment, entrypoint, args })
    }
}

fn value_of<'a>(
    environment: &'a [(String, String)],
    places: &BTreeMap<&str, usize>,
    name: &str,
) -> Option<&'a str> {
    let (_, value) = environment.get(*places.get(name)?)?;
    Some(value)
}

/// A text with its references replaced by the values of what they name.
fn expand<'a>(
    text: &str,
    value: impl Fn(&str) -> Option<&'a str>,
    left_bytes: &mut usize,
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    // Looked for in vain once, there is none to the end.
    let mut may_close = true;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let reference = after.strip_prefix('(').filter(|_| may_close).and_then(|after| {
            let found = after.split_once(')');
            may_close = found.is_some();
            found
        });
        rest = match reference {
            Some((name, after)) => {
                match value(name) {
                    Some(value) => expanded.push_str(value),
                    None => expanded.extend(["$(", name, ")"]),
                }
                after
            }
            None => {
                expanded.push('$');
                after.strip_prefix('$').unwrap_or(after)
            }
        };
        if expanded.len() > MAX_WORD_BYTES {
            break;
        }
    }
    expanded.push_str(rest);
    if expanded.len() > MAX_WORD_BYTES {
        return Err(format!("a value or an argument has at most {MAX_WORD_BYTES} bytes"));
    }
    *left_bytes = left_bytes.checked_sub(expanded.len()).ok_or_else(|| {
        format!("all values and arguments together have at most {MAX_ALL_BYTES} bytes")
    })?;
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> String {
        let value = |name: &str| match name {
            "A" => Some("a"),
            "EMPTY" => Some(""),
            "REF" => Some("$(A)"),
            "B B" => Some("b"),
            _ => None,
        };
        expand(text, value, &mut MAX_ALL_BYTES.clone()).unwrap()
    }

    #[test]
    fn references_are_expanded_as_in_kubernetes() {
        for (text, wanted) in [
            ("", ""),
            ("x$(A)y", "xay"),
            ("$(A)$(A)", "aa"),
            ("$(EMPTY)", ""),
            ("$(B B)", "b"),
            ("$(REF)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$()", "$()"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$(A)", "$$(A)"),
            ("$A ${A}", "$A ${A}"),
            ("$(A", "$(A"),
            ("$($(A)", "$($(A)"),
            ("$(A)$(", "a$("),
            ("$", "$"),
            ("$$", "$"),
            ("$é$(A)é", "$éaé"),
            ("5$ $(A)", "5$ a"),
        ] {
            assert_eq!(expanded(text), wanted, "{text}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let long = "x".repeat(MAX_WORD_BYTES / 2);
        let value = |name: &str| (name == "A").then_some(long.as_str());
        let mut left_bytes = MAX_ALL_BYTES;
        assert!(expand("$(A)$(A)", value, &mut left_bytes).is_ok());
        assert!(expand("$(A)$(A)x", value, &mut left_bytes).unwrap_err().contains("131072"));
        let fits = (0..100).take_while(|_| expand("$(A)", value, &mut left_bytes).is_ok());
        assert_eq!(fits.count(), 30, "one pair before them");
        let open = "$(".repeat(MAX_WORD_BYTES / 2);
        assert_eq!(expanded(&open), open);
    }
}
