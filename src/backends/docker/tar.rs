//! Archives in the form in which an engine takes files: `ustar` (POSIX, "pax").
//!
//! Only files and folders of root with short names. Not here: reading archives.

/// Archives are made of blocks of this size.
const BLOCK_BYTES: usize = 512;

/// Longest name in the field for it.
const NAME_BYTES: usize = 100;

/// Two empty blocks are the end.
const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// What an archive holds.
pub(super) enum Archived<'a> {
    /// A program that everybody may run.
    Program(&'a [u8]),
    /// A folder that everybody may write in.
    OpenFolder,
}

/// An archive of these entries, each with its path; `None` if a path is too long.
pub(super) fn archive(entries: &[(&str, Archived<'_>)]) -> Option<Vec<u8>> {
    let mut archive = Vec::new();
    for (path, entry) in entries {
        let (mode, kind, content) = match entry {
            Archived::Program(content) => (0o755, "0", *content),
            Archived::OpenFolder => (0o777, "5", &[][..]),
        };
        archive.extend(header(path, mode, kind, content.len())?);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.extend(END);
    Some(archive)
}

/// The block before an entry. Its numbers are octal digits; the owner and the time are 0.
fn header(path: &str, mode: u32, kind: &str, size: usize) -> Option<[u8; BLOCK_BYTES]> {
    if path.len() > NAME_BYTES {
        return None;
    }
    let (mode, size) = (format!("{mode:07o}"), format!("{size:011o}"));
    let fields: [(usize, &str); 9] = [
        (0, path),
        (100, &mode),
        (108, "0000000"),
        (116, "0000000"),
        (124, &size),
        (136, "00000000000"),
        // The sum counts its own field as blanks.
        (148, "        "),
        (156, kind),
        (257, "ustar\x0000"),
    ];
    let mut block = [0; BLOCK_BYTES];
    fields.into_iter().try_for_each(|(at, field)| put(&mut block, at, field))?;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(&mut block, 148, &format!("{sum:06o}\0 "))?;
    Some(block)
}

fn put(block: &mut [u8; BLOCK_BYTES], at: usize, field: &str) -> Option<()> {
    block.get_mut(at..at + field.len())?.copy_from_slice(field.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_archive_is_read_by_others() {
        let entries = [("a/", Archived::OpenFolder), ("a/run", Archived::Program(b"#!/bin/sh\n"))];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.tar");
        std::fs::write(&file, archive(&entries).unwrap()).unwrap();
        let listed = Command::new("tar").arg("-tvf").arg(&file).stderr(Stdio::inherit()).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let told: Vec<Vec<&str>> =
            listed.lines().map(|line| line.split_whitespace().collect()).collect();
        let plain = |line: &[&str]| [line[0], line[2], line[line.len() - 1]].map(str::to_owned);
        let told: Vec<_> = told.iter().map(|line| plain(line)).collect();
        assert_eq!(told, [["drwxrwxrwx", "0", "a/"], ["-rwxr-xr-x", "10", "a/run"]]);
        assert!(archive(&[(&"x".repeat(101), Archived::OpenFolder)]).is_none());
    }
}
