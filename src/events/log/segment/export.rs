//! All events of a log as lines, in order, read from its files without opening it.
//!
//! Not here: the format of a line (`log/export.rs`).

use std::path::Path;

use super::super::OpenError;
use super::super::export::Line;
use super::SEGMENT_HEADER_BYTES;
use super::disk::{Disk, Folder};
use super::fault::Fault;
use super::scan::Scanner;
use super::verify::{Examined, examine};
use crate::ids::Position;

/// Hands over each event after a position, up to the first damage; the log is verified before.
///
/// # Errors
/// What `each` says; damage, once all before it was handed over; what the system says.
pub fn export<E: From<OpenError>>(
    folder: &Path,
    after: Position,
    mut each: impl FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    let disk = Folder::read_only(folder);
    let open_error = |fault: Fault| fault.into_open_error(disk.path());
    let Examined { verified, segments, .. } = examine(&disk)?;
    let begins = segments.partition_point(|segment| segment.header.first <= after.next());
    for segment in segments.iter().skip(begins.saturating_sub(1)) {
        let mut scanner = Scanner::new(segment, SEGMENT_HEADER_BYTES as u32);
        let mut position = segment.header.first.before();
        while position < verified.head {
            let offset = u64::from(scanner.offset());
            let record = scanner.next_record().map_err(|error| open_error(error.into()))?;
            let Some(record) = record else { break };
            position = record.frame.position;
            if position > after {
                let place = (position, record.frame.left, &record.frame.hash);
                let line = Line::new(record.content_bytes, record.command, place)
                    .map_err(|why| open_error(segment.damaged(offset, position.get(), &why)))?;
                each(line)?;
            }
        }
    }
    match verified.damage.into_iter().next() {
        Some(damage) => Err(open_error(Fault::Damaged(damage)).into()),
        None => Ok(()),
    }
}
