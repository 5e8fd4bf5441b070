//! The image of a pod's sandbox: one static program that does nothing until it is killed.
//!
//! It is made here and not pulled: a node needs no registry for it, and nothing else is in it that
//! could be attacked. Not here: giving it to an engine (`pod_sandbox`).

use super::tar::{Archived, archive};

/// Its name on an engine. No registry has this host (RFC 2606, section 2), so that no pull can put
/// another image in its place.
pub(super) const IMAGE: &str = "magnum.invalid/pause:1";

/// The same in the parts in which an engine is told of it.
pub(super) const REPOSITORY: &str = "magnum.invalid/pause";
pub(super) const TAG: &str = "1";

/// The program in the image.
pub(super) const PROGRAM: &str = "/pause";

/// Where the program is in memory: where linkers put those that are not to be moved.
const BASE: u64 = 0x40_0000;

/// Sizes of the two headers before the instructions (the System V ABI, "ELF").
const ELF_HEADER_BYTES: u16 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;

/// A processor as ELF numbers it, and the instructions for it.
struct Processor {
    elf_machine: u16,
    instructions: &'static [u8],
}

const X86_64: Processor = Processor {
    elf_machine: 62,
    instructions: &[
        0xb8, 0x22, 0x00, 0x00, 0x00, // again: mov eax, 34 (pause)
        0x0f, 0x05, //                         syscall
        0xeb, 0xf7, //                         jmp again
    ],
};

/// This processor has no `pause`; `ppoll` of nothing, without a limit, is the same.
const AARCH64: Processor = Processor {
    elf_machine: 183,
    instructions: &[
        0x00, 0x00, 0x80, 0xd2, // again: mov x0, 0 (no files)
        0x01, 0x00, 0x80, 0xd2, //        mov x1, 0
        0x02, 0x00, 0x80, 0xd2, //        mov x2, 0 (no time limit)
        0x03, 0x00, 0x80, 0xd2, //        mov x3, 0 (the same signals)
        0x28, 0x09, 0x80, 0xd2, //        mov x8, 73 (ppoll)
        0x01, 0x00, 0x00, 0xd4, //        svc 0
        0xfa, 0xff, 0xff, 0x17, //        b again
    ],
};

/// The image's files for a machine, by the kernel's name of it (`uname -m`), as an archive; `None`
/// if there is no program for it.
pub(super) fn files(machine: &str) -> Option<Vec<u8>> {
    let processor = match machine {
        "x86_64" => X86_64,
        "aarch64" => AARCH64,
        _ => return None,
    };
    archive(&[(PROGRAM.trim_start_matches('/'), Archived::Program(&program(&processor)))])
}

/// The program as a file: the ELF header, one program header, and the instructions.
fn program(processor: &Processor) -> Vec<u8> {
    let headers = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;
    let size = u64::from(headers) + processor.instructions.len() as u64;
    let mut file = b"\x7fELF".to_vec();
    // 64 bits, little endian, version 1, for any system.
    file.extend([2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // A program at a fixed place.
    file.extend(2_u16.to_le_bytes());
    file.extend(processor.elf_machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    // Where it begins, where its program header is, and that there are no sections.
    file.extend((BASE + u64::from(headers)).to_le_bytes());
    file.extend(u64::from(ELF_HEADER_BYTES).to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    for size_or_count in [ELF_HEADER_BYTES, PROGRAM_HEADER_BYTES, 1, 0, 0, 0] {
        file.extend(size_or_count.to_le_bytes());
    }
    // The whole file is loaded, to be read and run.
    file.extend(1_u32.to_le_bytes());
    file.extend(5_u32.to_le_bytes());
    for place_or_size in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(place_or_size.to_le_bytes());
    }
    file.extend(processor.instructions);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_loaded_from_its_headers() {
        for (processor, size) in [(X86_64, 129), (AARCH64, 148)] {
            let file = program(&processor);
            let number = |at: usize, bytes: usize| {
                let field = file[at..at + bytes].iter().rev();
                field.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            };
            assert_eq!(file.len(), size);
            assert_eq!(&file[..7], b"\x7fELF\x02\x01\x01");
            assert_eq!((number(16, 2), number(18, 2)), (2, u64::from(processor.elf_machine)));
            // The entry is the first instruction, and the one segment is the whole file.
            let (entry, header) = (number(24, 8), 64);
            let first = usize::try_from(entry - number(header + 16, 8)).unwrap();
            assert_eq!(&file[first..], processor.instructions);
            assert_eq!((number(32, 8), number(54, 2), number(56, 2)), (64, 56, 1));
            assert_eq!(
                (number(header, 4), number(header + 4, 4), number(header + 8, 8)),
                (1, 5, 0)
            );
            let length = u64::try_from(size).unwrap();
            assert_eq!((number(header + 32, 8), number(header + 40, 8)), (length, length));
        }
    }

    #[test]
    fn other_machines_have_no_program() {
        for (machine, is_known) in [("x86_64", true), ("aarch64", true), ("riscv64", false)] {
            assert_eq!(files(machine).is_some(), is_known, "{machine}");
        }
        assert_eq!(IMAGE, format!("{REPOSITORY}:{TAG}"));
    }
}
