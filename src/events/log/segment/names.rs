//! The names of the files of a log.

/// The file of a segment.
pub fn name(number: u32) -> String {
    format!("{number:010}.seg")
}

/// The number of a segment file; `None` if the name is another.
pub fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 10).then(|| digits.parse().ok())?
}

/// The file of a segment that a writer with this epoch is preparing: two processes that write to
/// one folder against all rules must not write to one file.
pub fn unfinished(epoch: u32) -> String {
    format!("next-{epoch}.new")
}

/// Whether it is the name of a segment in preparation.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with("next-") && name.ends_with(".new")
}
