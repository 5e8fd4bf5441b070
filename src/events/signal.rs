//! The names and numbers of Linux's signals, which engines and clients use side by side.
//!
//! Not here: which of them a client may send (`http/verbs/action.rs`).

/// The signals from 1 on (`signal(7)`, x86 and ARM).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names of some of them.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first and the last of the real-time signals, as libc and Docker count them.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// The name of a signal: `SIGKILL`. One without a name is told by its number.
pub fn name(number: u8) -> String {
    let named = usize::from(number).checked_sub(1).and_then(|index| NAMES.get(index));
    match (named, number) {
        (Some(name), _) => format!("SIG{name}"),
        (None, RTMIN) => "SIGRTMIN".to_owned(),
        (None, RTMIN..RTMAX) => format!("SIGRTMIN+{}", number - RTMIN),
        (None, RTMAX) => "SIGRTMAX".to_owned(),
        (None, _) => format!("signal {number}"),
    }
}

/// The number of a signal that is given by name, with or without `SIG`, or as a number.
pub fn number(text: &str) -> Option<u8> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named =
        || NAMES.iter().position(|one| *one == name).and_then(|at| u8::try_from(at + 1).ok());
    let alias = || ALIASES.iter().find(|(one, _)| *one == name).map(|(_, number)| *number);
    let after = |base: &str, sign: char| -> Option<u8> {
        match name.strip_prefix(base)? {
            "" => Some(0),
            rest => rest.strip_prefix(sign)?.parse().ok(),
        }
    };
    let real_time = || {
        let up = || after("RTMIN", '+').and_then(|by| RTMIN.checked_add(by));
        let down = || after("RTMAX", '-').and_then(|by| RTMAX.checked_sub(by));
        up().or_else(down).filter(|number| (RTMIN..=RTMAX).contains(number))
    };
    let counted = || upper.parse().ok().filter(|number| (1..=RTMAX).contains(number));
    named().or_else(alias).or_else(real_time).or_else(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_that_of_its_number() {
        for given in 1..=RTMAX {
            let expected = if matches!(given, 32 | 33) { None } else { Some(given) };
            assert_eq!(number(&name(given)), expected, "{}", name(given));
            assert_eq!(number(&given.to_string()), Some(given));
        }
        for (text, expected) in [
            ("SIGKILL", Some(9)),
            ("kill", Some(9)),
            ("SIGTERM", Some(15)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-2", Some(62)),
            ("IOT", Some(6)),
            ("SIGRTMIN+99", None),
            ("SIGNAL", None),
            ("0", None),
            ("65", None),
            ("", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
        assert_eq!(
            (name(9), name(37), name(64)),
            ("SIGKILL".into(), "SIGRTMIN+3".into(), "SIGRTMAX".into())
        );
    }
}
