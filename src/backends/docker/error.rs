//! What the engine's errors mean for us: wait, look again, try again, give up (rule W10).
//!
//! The status code decides. A 500 is the engine's "something went wrong below", with the words of
//! whatever failed: then the kind of that error decides, by the names that the kernel, a registry
//! and the engine's libraries give to their errors. Those of no known kind are tried again.

use bollard::errors::Error;

use super::super::BackendError;
use super::paths::without_engine_paths;
use crate::text;

/// Errors of the kernel about what a user named: a path, a program, a number (`errno`, as Go
/// prints it). The same names give the same error again.
const KERNEL: &[&str] = &[
    "operation not permitted",
    "no such file or directory",
    "exec format error",
    "permission denied",
    "not a directory",
    "is a directory",
    "invalid argument",
    "file name too long",
    "numerical result out of range",
    "too many levels of symbolic links",
    // A published port on an address that the machine does not have.
    "cannot assign requested address",
];

/// Errors of a registry (the distribution specification, "error codes") and of the engine's client
/// for them, about who asks and what for.
const REGISTRY: &[&str] = &[
    "name invalid",
    "name unknown",
    "manifest unknown",
    "manifest invalid",
    "unauthorized",
    "denied",
    "unsupported",
    "no basic auth credentials",
];

/// Those of them by which a registry says that it does not have an image, or not for everybody.
const NO_ACCESS: &[&str] =
    &["name unknown", "manifest unknown", "unauthorized", "denied", "no basic auth credentials"];

/// How a registry says that it was asked too often.
const TOO_MANY_REQUESTS: &str = "toomanyrequests";

/// How errors of the engine's connections begin, also those about a name that is not known.
const CONNECTS: &str = "dial ";

/// How the engine's client says that an answer did not come in time.
const TIMED_OUT: &str = "net/http";

/// Errors of the library with which the engine looks up a container's user.
const USER: &[&str] = &[
    "no matching entries in passwd file",
    "no matching entries in group file",
    "uids and gids must be in range 0-2147483647",
];

/// How the container runtime begins to say which program it could not run, and how it ends if that
/// has no path.
const PROGRAM: &str = "exec: ";
const NOT_IN_PATH: &str = "executable file not found in $PATH";

/// How a path of too many parts is refused, before the path.
const PARTS: &str = "too many links in ";

/// How an image that is not made for the engine's machine is refused.
const PLATFORM: &str = "no matching manifest for";

/// Something that uses a network, in the engine's words: a 403 that passes when that has ended.
const IN_USE: &str = "has active endpoints";

/// Whether the engine keeps a network because something uses it.
pub(super) fn is_in_use(words: &str) -> bool {
    words.contains(IN_USE)
}

/// Every subnet that the engine chooses from has a network: passes when a network goes.
const NO_SUBNET_LEFT: &[&str] =
    &["non-overlapping IPv4 address pool", "predefined address pools have been fully subnetted"];

/// Request timeout, too early, too many requests: status codes below 500 that pass by themselves.
const PASSING_STATUS: &[u16] = &[408, 425, 429];

/// What this engine never does: reading logs that its log driver does not keep, say.
const NOT_IMPLEMENTED: u16 = 501;

/// What an error of a call means.
pub(super) fn classify(error: Error) -> BackendError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            refused_by_engine(status_code, &message)
        }
        Error::DockerStreamError { error } => refused_by_engine(500, &error),
        Error::RequestTimeoutError => {
            BackendError::TimedOut("the Docker engine did not answer".to_owned())
        }
        Error::SocketNotFoundError(_) => {
            BackendError::Unavailable("the Docker engine's socket does not exist".to_owned())
        }
        Error::HyperLegacyError { err } => away(&err),
        Error::HyperResponseError { err } => away(&err),
        Error::IOError { err } => away(&err),
        Error::JsonDataError { message, .. } => unreadable(&message),
        Error::JsonSerdeError { err } => unreadable(&err),
        Error::URLParseError { .. } | Error::InvalidURIError { .. } => BackendError::Refused(
            "it contains a name that is not valid for the Docker engine".to_owned(),
        ),
        other => BackendError::Failed(root_words(&other)),
    }
}

/// What a status code and the words with it mean. All of the words count, and few are passed on.
fn refused_by_engine(status: u16, words: &str) -> BackendError {
    let words = words.trim();
    let passes = is_in_use(words) || has_no_subnet_left(words);
    let told = match text::words(&without_engine_paths(words)) {
        told if told.is_empty() => format!("the Docker engine answered with status {status}"),
        told => told,
    };
    match status {
        _ if passes || PASSING_STATUS.contains(&status) => BackendError::Failed(told),
        404 => BackendError::Missing(told),
        _ if status < 500 || status == NOT_IMPLEMENTED => BackendError::Refused(told),
        _ if is_permanent(words) => BackendError::Refused(told),
        _ => BackendError::Failed(told),
    }
}

/// Whether an error below the engine is of a kind that comes again. Errors are told as a chain,
/// `what was done: what was done for that: the error`, with `unknown` at the end if the container
/// runtime gave no code. A registry's errors begin with their code.
fn is_permanent(words: &str) -> bool {
    let mut chain: Vec<&str> = links(words).collect();
    chain.pop_if(|last| *last == "unknown");
    let last = chain.last().copied().unwrap_or_default();
    let registry = |link: &&str| REGISTRY.contains(link) || link.starts_with(PLATFORM);
    let path = last.starts_with(PARTS);
    // "connect: no such file or directory" is about something that may yet come.
    let connects = |link: &&str| *link == "connect" || link.starts_with(CONNECTS);
    // "Cannot mkdir: /x is not a directory": some put the name before the error.
    let names = KERNEL.iter().chain(USER).any(|kind| last.ends_with(kind));
    path || chain.iter().any(registry) || (names && !chain.iter().any(connects))
}

/// Whether the engine refused to start a container because of the program that it is to run.
pub(super) fn is_about_a_program(words: &str) -> bool {
    words.contains(PROGRAM) && (words.contains(NOT_IN_PATH) || is_permanent(words))
}

/// What was done, what was done for that, and so on to the error itself.
fn links(words: &str) -> impl Iterator<Item = &str> {
    words.split(": ").map(str::trim)
}

/// What kind of failure a failed pull was, in none of the words of the engine or a registry.
pub(super) fn pull_failed(error: BackendError, image: &str) -> BackendError {
    let says = |words: &str, kinds: &[&str]| links(words).any(|link| kinds.contains(&link));
    let refused =
        |what: &str| BackendError::Refused(format!("{what}; the operator's log says why"));
    let failed = |what: &str| BackendError::Failed(format!("{what}; the operator's log says why"));
    let no_access = format!(
        "pull access denied for {image}: it does not exist, or its registry does not give it to \
         everybody"
    );
    match error {
        BackendError::Missing(_) => refused(&no_access),
        BackendError::Refused(words) if says(&words, NO_ACCESS) => refused(&no_access),
        BackendError::Refused(_) | BackendError::NotStarted { .. } => {
            refused(&format!("the pull of {image} was refused"))
        }
        BackendError::Failed(words) if says(&words, &[TOO_MANY_REQUESTS]) => {
            failed(&format!("the registry of {image} takes no more requests for now"))
        }
        BackendError::Failed(words)
            if links(&words).any(|link| link.starts_with(CONNECTS) || link == TIMED_OUT) =>
        {
            failed(&format!("the registry of {image} cannot be reached"))
        }
        BackendError::Failed(_) => failed(&format!("the pull of {image} failed")),
        ours @ (BackendError::Unavailable(_)
        | BackendError::TimedOut(_)
        | BackendError::Cancelled) => ours,
    }
}

/// Whether the engine says that it has no subnet for another network.
pub(super) fn has_no_subnet_left(words: &str) -> bool {
    NO_SUBNET_LEFT.iter().any(|phrase| words.contains(phrase))
}

/// No connection, or one that broke.
fn away(error: &(dyn std::error::Error + 'static)) -> BackendError {
    BackendError::Unavailable(format!("no connection to the Docker engine: {}", root_words(error)))
}

fn unreadable(why: &dyn std::fmt::Display) -> BackendError {
    BackendError::Failed(text::words(&format!("the Docker engine's answer cannot be read: {why}")))
}

/// The words of the innermost cause: those above it may say where the engine listens.
fn root_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    text::words(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(status_code: u16, message: &str) -> BackendError {
        classify(Error::DockerResponseServerError { status_code, message: message.to_owned() })
    }

    #[test]
    fn status_codes_decide_where_words_do_not() {
        assert_eq!(classified(404, "gone"), BackendError::Missing("gone".to_owned()));
        assert_eq!(classified(409, "taken"), BackendError::Refused("taken".to_owned()));
        assert_eq!(classified(429, "slow down"), BackendError::Failed("slow down".to_owned()));
        assert_eq!(classified(500, "broken"), BackendError::Failed("broken".to_owned()));
        assert!(
            matches!(classified(500, " "), BackendError::Failed(words) if words.contains("500"))
        );
    }

    #[test]
    fn the_kind_of_the_error_decides_where_the_status_does_not() {
        for words in [
            "unable to find user nobodyxx: no matching entries in passwd file",
            "uids and gids must be in range 0-2147483647",
            "Get \"http://127.0.0.1:5001/v2/\": no basic auth credentials",
            "unauthorized: authentication required",
            "Cannot mkdir: /bin/busybox is not a directory",
            "OCI runtime create failed: exec: \"/x\": exec format error: unknown",
            "failed to write \"100\": write /sys/fs/cgroup/cpu/x: invalid argument: unknown",
            "Error starting userland proxy: listen tcp4 192.0.2.1:80: bind: cannot assign \
             requested address",
            "no matching manifest for linux/amd64 in the manifest list entries",
        ] {
            assert_eq!(classified(500, words), BackendError::Refused(words.to_owned()));
        }
        for (status, words) in [
            (500, "toomanyrequests: You have reached your pull rate limit."),
            (403, "error while removing network: network n id 1 has active endpoints"),
            (500, "driver failed programming external connectivity: port is already allocated"),
            (500, "failed to register layer: write /x: no space left on device"),
            (
                500,
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            ),
            (500, "dial unix /run/x.sock: connect: no such file or directory: unknown"),
            (500, "dial tcp 192.0.2.1:80: connect: cannot assign requested address"),
            (
                500,
                "Error starting userland proxy: listen tcp4 0.0.0.0:80: bind: address already \
                   in use",
            ),
            (500, "fork/exec /usr/bin/runc: cannot allocate memory: unknown"),
            (500, "a file named unauthorized is denied no such file or directory to anybody else"),
        ] {
            assert_eq!(classified(status, words), BackendError::Failed(words.to_owned()));
        }
        let restarting = "Container 1 is restarting, wait until the container is running";
        for (status, words) in [(409, restarting), (501, "logs cannot be read")] {
            assert_eq!(classified(status, words), BackendError::Refused(words.to_owned()));
        }
    }

    #[test]
    fn a_pull_that_failed_is_told_by_its_kind_alone() {
        for (status, words, told) in [
            (404, "pull access denied for x, repository does not exist", "pull access denied"),
            (500, "manifest unknown: manifest unknown", "pull access denied"),
            (500, "Head \"https://x/v2/\": no basic auth credentials", "pull access denied"),
            (500, "unauthorized: authentication required: secret", "pull access denied"),
            (500, "no matching manifest for linux/amd64", "was refused"),
            (400, "secret", "was refused"),
            (500, "toomanyrequests: secret", "no more requests"),
            (500, "Get \"http://127.0.0.1:1/\": dial tcp 127.0.0.1:1: secret", "be reached"),
            (500, "Get \"http://x/\": net/http: TLS handshake timeout", "be reached"),
            (500, "error parsing HTTP 401 response body: \"secret\"", "failed"),
        ] {
            let error = classified(status, words);
            let before = std::mem::discriminant(&error);
            let after = pull_failed(error, "a/b:1");
            let text = after.to_string();
            assert!(text.contains(told) && text.contains("a/b:1"), "{words}: {text}");
            for of_others in ["secret", "127.0.0.1", "linux", "TLS"] {
                assert!(!text.contains(of_others), "{words}: {text}");
            }
            // Whether it is tried again is the same.
            let kept = before == std::mem::discriminant(&after);
            assert!(
                kept || (status == 404 && matches!(after, BackendError::Refused(_))),
                "{words}"
            );
        }
        let away = BackendError::Unavailable("the engine".to_owned());
        assert_eq!(pull_failed(away.clone(), "x"), away);
    }

    #[test]
    fn the_engines_folders_are_not_told() {
        let words = "lstat /var/lib/docker/overlay2/46c0/merged/etc/passwd/x: not a directory";
        let told = "lstat /etc/passwd/x: not a directory";
        assert_eq!(classified(500, words), BackendError::Refused(told.to_owned()));
        let words = "open \"/var/lib/docker/overlay2/46c0/merged/etc/x\": input/output error";
        let told = "open \"/etc/x\": input/output error";
        assert_eq!(classified(500, words), BackendError::Failed(told.to_owned()));
        assert_eq!(classified(409, "a /merged/ b"), BackendError::Refused("a /merged/ b".into()));
        for (words, told) in [
            (
                "stat /var/lib/docker/overlay2/46c0: no space left on device",
                "stat (a path of the engine): no space left on device",
            ),
            (
                "mount lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,rw",
                "mount lowerdir=(a path of the engine):(a path of the engine),rw",
            ),
            (
                "open '/run/containerd/io.containerd.runtime.v2.task/moby/1/x' failed",
                "open '(a path of the engine)' failed",
            ),
            ("stat /srv/run/docker/x failed", "stat /srv/run/docker/x failed"),
        ] {
            assert_eq!(classified(500, words), BackendError::Failed(told.to_owned()));
        }
    }

    #[test]
    fn words_of_any_length_are_told_in_one_short_line() {
        for size in [3_000_000, 5_000_000] {
            let registry = format!("denied: \u{1b}]0;x\u{7}\n\u{202e}{}", "x".repeat(size));
            let cause = format!("mkdir /{}: file name too long: unknown", "y".repeat(size));
            for (words, begin) in [(&registry, "denied: ]0;x x"), (&cause, "mkdir /y")] {
                let stream = classify(Error::DockerStreamError { error: words.clone() });
                for error in [classified(500, words), stream] {
                    let BackendError::Refused(told) = error else { panic!("{begin}") };
                    assert!(told.starts_with(begin), "{told}");
                    assert!(told.len() <= 1024 && !told.chars().any(text::is_hidden), "{told}");
                }
            }
        }
    }

    #[test]
    fn where_the_engine_listens_is_not_told() {
        let error = classify(Error::SocketNotFoundError("/secret/docker.sock".to_owned()));
        assert!(matches!(&error, BackendError::Unavailable(words) if !words.contains("secret")));
    }
}
