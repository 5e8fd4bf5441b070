//! Parsing the description of a container: commands, ports, sizes, environment.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::value::{integer, shown_hidden, text, type_name};
use crate::allowed::{MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES};
use crate::command_line::{self, Unfinished};
use crate::events::container::{PortMapping, RestartPolicy, UNSET, cpu_millis};
use crate::http::text::{MAX_NAME_BYTES, shown};
use crate::image::{MAX_REFERENCE_BYTES, Reference};
use crate::projections::field_table::MAX_COUNT;
use crate::text::{is_hidden, misleads};

/// Largest memory limit: 8 EiB less one byte, what the engine's signed number holds.
pub const MAX_MEMORY_BYTES: u64 = i64::MAX as u64;

/// Most published ports: each costs the engine a proxy process.
pub const MAX_PORTS: usize = 128;

/// Longest path of a folder in a container, in bytes: what the kernel takes (`PATH_MAX`, 4096),
/// less 512 for the folder of the engine below which the container's files are.
pub const MAX_FOLDER_BYTES: usize = 4096 - 512;

/// Longest name of a file, in bytes (`NAME_MAX`).
const MAX_FILE_NAME_BYTES: usize = 255;

/// Largest id of a user or a group: what the engine's library for looking them up takes.
const MAX_USER_ID: u32 = i32::MAX as u32;

/// Most variables, labels and arguments; the kernel takes about 2 MiB of all of them together.
pub const MAX_ENTRIES: usize = 4096;

/// What is spoken on a published port.
pub const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The words of a command: those of a list, or of a line that is split as Python's `shlex` does.
///
/// # Errors
/// What is wrong with it.
pub fn words(value: &Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(line) => command_line::split(line).map_err(|error| match error {
            Unfinished::Quote => {
                "The command has an unclosed quote; close it, or use \\\" or \\'.".to_owned()
            }
            Unfinished::Escape => {
                "The command ends with a backslash; use \\\\ for the character itself.".to_owned()
            }
        })?,
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(word) => Ok(word.clone()),
                // YAML has a number where `sleep 600` was written as a list.
                Value::Number(number) => Ok(number.to_string()),
                other => Err(format!("Wrong type. Expected a string, got {}.", type_name(other))),
            })
            .collect::<Result<_, _>>()?,
        other => {
            return Err(format!(
                "Wrong type. Expected a string or a list, got {}.",
                type_name(other)
            ));
        }
    };
    if words.len() > MAX_ENTRIES {
        return Err(format!("At most {MAX_ENTRIES} arguments."));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("Arguments must not contain the character U+0000.".to_owned());
    }
    Ok(words)
}

/// A command as it is shown: one line.
pub fn command_line(value: &Value) -> Result<Value, String> {
    words(value).map(|words| Value::from(command_line::join(words)))
}

/// An image reference.
pub fn image(value: &Value) -> Result<Value, String> {
    let image = text(value, MAX_REFERENCE_BYTES)?;
    Reference::parse(image).map(|_| Value::from(image))
}

/// An absolute folder.
pub fn folder(value: &Value) -> Result<Value, String> {
    let folder = text(value, MAX_FOLDER_BYTES)?;
    if !folder.starts_with('/') {
        return Err("The directory must start with /.".to_owned());
    }
    if folder.split('/').any(|name| name.len() > MAX_FILE_NAME_BYTES) {
        return Err(format!("Each part of the path has at most {MAX_FILE_NAME_BYTES} bytes."));
    }
    Ok(Value::from(folder))
}

/// A user by name or number, and after a colon a group. Which names there are, the image says.
pub fn user(value: &Value) -> Result<Value, String> {
    let user = text(value, MAX_NAME_BYTES)?;
    for part in user.split(':') {
        let digits = part.trim_start_matches(['+', '-']);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && !part.parse().is_ok_and(|id: u32| id <= MAX_USER_ID) {
            return Err(format!("Ids of users and groups are numbers from 0 to {MAX_USER_ID}."));
        }
    }
    Ok(Value::from(user))
}

/// Environment variables; no value is repeated in what it says.
pub fn variables(value: &Value) -> Result<Value, String> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    // What the values mean is for the container to say.
    pairs(value, is_name, |character| character == '\0', UNSET).map(Value::Object)
}

/// Labels.
pub fn labels(value: &Value) -> Result<Value, String> {
    let is_name = |name: &str| !name.is_empty() && !name.chars().any(is_hidden);
    // Values may be documents of several lines.
    let is_refused = |character| misleads(character) && !matches!(character, '\n' | '\r' | '\t');
    pairs(value, is_name, is_refused, "").map(Value::Object)
}

/// A map of names and values, or a list of `NAME=value`; `null` stands for `none`.
fn pairs(
    value: &Value,
    is_name: fn(&str) -> bool,
    is_refused: fn(char) -> bool,
    none: &str,
) -> Result<Map<String, Value>, String> {
    let mut pairs = Map::new();
    let mut nulls = Vec::new();
    let mut add = |name: &str, value: &str| {
        if !is_name(name) {
            return Err(format!("'{}' is not a valid name.", shown(name)));
        }
        if let Some(character) = value.chars().find(|character| is_refused(*character)) {
            let (name, character) = (shown(name), shown_hidden(character));
            return Err(format!("The value of {name} contains {character}."));
        }
        pairs.insert(name.to_owned(), Value::from(value));
        Ok(())
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) => add(name, text)?,
                    Value::Null => {
                        add(name, "")?;
                        nulls.push(name.clone());
                    }
                    Value::Number(_) | Value::Bool(_) => add(name, &value.to_string())?,
                    other => {
                        let (name, got) = (shown(name), type_name(other));
                        return Err(format!("The value of {name} is {got}; expected a string."));
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let pair = item.as_str().and_then(|item| item.split_once('='));
                let (name, value) = pair.ok_or("Each item of the list must be NAME=VALUE.")?;
                add(name, value)?;
            }
        }
        other => {
            let got = type_name(other);
            return Err(format!("Expected an object or a list of NAME=VALUE, got {got}."));
        }
    }
    pairs.extend(nulls.into_iter().map(|name| (name, Value::from(none))));
    if pairs.len() > MAX_ENTRIES {
        return Err(format!("At most {MAX_ENTRIES} entries."));
    }
    Ok(pairs)
}

/// Published ports.
pub fn ports(value: &Value) -> Result<Value, String> {
    let Value::Array(items) = value else {
        return Err(format!("Expected a list like [\"8080:80/tcp\"], got {}.", type_name(value)));
    };
    if items.len() > MAX_PORTS {
        return Err(format!("At most {MAX_PORTS} ports."));
    }
    let ports: Vec<PortMapping> = items.iter().map(port).collect::<Result<_, _>>()?;
    let before = |at: usize| ports.iter().take(at);
    let twice = ports.iter().enumerate().find(|(at, port)| before(*at).any(|it| clash(it, port)));
    match twice.and_then(|(_, port)| port.host_port) {
        Some(port) => Err(format!("The host port {port} is published twice.")),
        None => Ok(json!(ports)),
    }
}

/// Whether two ports take the same port of the host.
fn clash(one: &PortMapping, other: &PortMapping) -> bool {
    if one.host_port.is_none()
        || (one.host_port, &one.protocol) != (other.host_port, &other.protocol)
    {
        return false;
    }
    let address = |port: &PortMapping| -> Option<IpAddr> { port.host_ip.as_deref()?.parse().ok() };
    // Without an address: all, of both kinds.
    let (Some(one), Some(other)) = (address(one), address(other)) else { return true };
    let has_any = one.is_unspecified() || other.is_unspecified();
    one == other || (has_any && one.is_ipv4() == other.is_ipv4())
}

/// One published port: `[[ip:]host_port:]container_port[/protocol]`, a number, or an object. The
/// host port 0 is any free one, as in Docker.
fn port(value: &Value) -> Result<PortMapping, String> {
    let number = |value: &Value, min| integer(value, min, 65_535).map(|port| port as u16);
    match value {
        Value::Number(_) => Ok(mapping(number(value, 1)?, None, None, "tcp")?),
        Value::String(line) => port_line(line),
        Value::Object(fields) => {
            let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
            let string =
                |name: &str| field(name).map(|value| text(value, MAX_NAME_BYTES)).transpose();
            let container = field("container_port").ok_or("A port needs a container_port.")?;
            let host = field("host_port").map(|port| number(port, 0)).transpose()?;
            let protocol = string("protocol")?.unwrap_or("tcp");
            mapping(number(container, 1)?, host, string("host_ip")?, protocol)
        }
        other => Err(format!(
            "A port must be a string, a number or an object, not {}.",
            type_name(other)
        )),
    }
}

fn port_line(line: &str) -> Result<PortMapping, String> {
    let (places, protocol) = line.split_once('/').unwrap_or((line, "tcp"));
    let (host, container) = match places.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, places),
    };
    let (ip, host) = match host.map(|host| host.rsplit_once(':').ok_or(host)) {
        Some(Ok((ip, host))) => (Some(ip), Some(host)),
        Some(Err(host)) => (None, Some(host)),
        None => (None, None),
    };
    let number = |text: &str, min| {
        let port = text.parse::<u16>().ok().filter(|port| *port >= min);
        port.ok_or_else(|| format!("'{}' is not a port such as 8080:80/tcp.", shown(line)))
    };
    let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']'));
    // `127.0.0.1::80`: any free port of that address.
    let host = host.filter(|host| !(host.is_empty() && ip.is_some()));
    let host = host.map(|port| number(port, 0)).transpose()?;
    mapping(number(container, 1)?, host, ip, protocol)
}

fn mapping(
    container_port: u16,
    host_port: Option<u16>,
    ip: Option<&str>,
    protocol: &str,
) -> Result<PortMapping, String> {
    let protocol = protocol.to_ascii_lowercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return Err(format!("Protocol '{}' is not tcp, udp or sctp.", shown(&protocol)));
    }
    let host_ip = match ip {
        None => None,
        Some(ip) => match ip.parse::<IpAddr>() {
            Ok(ip) => Some(ip.to_string()),
            Err(_) => return Err(format!("'{}' is not an IP address.", shown(ip))),
        },
    };
    let host_port = host_port.filter(|port| *port > 0);
    Ok(PortMapping { container_port, host_port, host_ip, protocol })
}

/// Bytes: a number, or text with a unit such as `512m`, `1.5g` or `1GiB`, in powers of 1024 as in
/// Docker; 0 is no limit.
pub fn memory(value: &Value) -> Result<Value, String> {
    let bytes = match value {
        Value::String(line) => {
            let line = line.trim().to_ascii_lowercase();
            let is_unit = |c: char| !c.is_ascii_digit() && c != '.';
            let (digits, unit) = line.split_at(line.find(is_unit).unwrap_or(line.len()));
            let shift: u32 = match unit.trim() {
                "" | "b" => 0,
                "k" | "kb" | "kib" => 10,
                "m" | "mb" | "mib" => 20,
                "g" | "gb" | "gib" => 30,
                "t" | "tb" | "tib" => 40,
                _ => return Err(MEMORY_FORMS.to_owned()),
            };
            match digits.parse::<u64>() {
                Ok(number) => number.checked_mul(1 << shift).ok_or("The limit is too large.")?,
                // Cut to a whole number, as Docker does.
                Err(_) if digits.contains('.') => {
                    let number: f64 = digits.parse().map_err(|_| MEMORY_FORMS.to_owned())?;
                    (number * (1_u64 << shift) as f64) as u64
                }
                Err(_) => return Err(MEMORY_FORMS.to_owned()),
            }
        }
        other => integer(other, 0, MAX_MEMORY_BYTES)?,
    };
    match bytes {
        0 => Ok(Value::Null),
        MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES => Ok(Value::from(bytes)),
        1..MIN_MEMORY_BYTES => Err("The smallest memory limit is 6m.".to_owned()),
        _ => Err("The limit is too large.".to_owned()),
    }
}

const MEMORY_FORMS: &str = "Use bytes, or a number with b, k, m, g or t: 512m, 1.5g; 0: no limit.";

/// A number of CPUs, as thousandths; 0 is no limit.
pub fn cpus(value: &Value) -> Result<Value, String> {
    let cpus = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(line) => line.trim().parse().ok(),
        _ => None,
    };
    match cpus {
        Some(0.0) => Ok(Value::Null),
        Some(cpus) if (MIN_CPUS..=MAX_CPUS).contains(&cpus) => Ok(Value::from(cpu_millis(cpus))),
        _ => Err(format!("Use a number of CPUs from {MIN_CPUS} to {MAX_CPUS}, such as 0.5.")),
    }
}

/// When the engine starts it again.
pub fn restart_policy(value: &Value) -> Result<Value, String> {
    if *value == Value::Bool(false) {
        // What YAML makes of `no`.
        return Ok(json!(RestartPolicy::No));
    }
    let line = text(value, MAX_NAME_BYTES)?;
    let policy = match line.split_once(':').unwrap_or((line, "")) {
        ("no", "") => RestartPolicy::No,
        ("always", "") => RestartPolicy::Always,
        ("unless-stopped", "") => RestartPolicy::UnlessStopped,
        ("on-failure", "") => RestartPolicy::OnFailure(0),
        ("on-failure", times) => match times.parse::<u32>() {
            Ok(times) if u64::from(times) <= MAX_COUNT => RestartPolicy::OnFailure(times),
            _ => return Err("on-failure takes a whole number: on-failure:3.".to_owned()),
        },
        _ => return Err("Use no, always, on-failure, on-failure:3 or unless-stopped.".to_owned()),
    };
    Ok(json!(policy))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;

    use super::super::body::Body;
    use super::*;
    use crate::projections::container::ContainerView;

    /// What a field of a body holds once it is checked.
    fn read<T: DeserializeOwned + Default>(field: &str, value: Value) -> Result<T, String> {
        let body = json!({ "image_id": "busybox", field: value });
        let checked = Body::checked::<ContainerView>(body.as_object().unwrap());
        checked.and_then(|mut body| body.take(field)).map_err(|error| error.to_string())
    }

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let words = |command| read::<Vec<String>>("command", command);
        assert_eq!(words(json!("sh -c 'echo \"a b\"'")).unwrap(), ["sh", "-c", "echo \"a b\""]);
        assert_eq!(words(json!(["sh", "-c", "echo 'a"])).unwrap(), ["sh", "-c", "echo 'a"]);
        assert_eq!(words(json!("")).unwrap(), [""; 0]);
        assert_eq!(words(json!("echo #a")).unwrap(), ["echo", "#a"]);
        assert_eq!(words(json!(["sleep", 600])).unwrap(), ["sleep", "600"]);
        assert!(words(json!("echo \\")).unwrap_err().contains("ends with a backslash"));
        for bad in [json!("echo 'a"), json!("echo \"a"), json!(5), json!([true]), json!("a\0b")] {
            assert!(words(bad).unwrap_err().contains("command"));
        }
    }

    #[test]
    fn ports_in_every_form() {
        let ports = |value| read::<Vec<PortMapping>>("ports", value);
        let one = |port: Value| {
            let port = ports(json!([port])).unwrap().remove(0);
            (port.host_ip, port.host_port, port.container_port, port.protocol)
        };
        let tcp = "tcp".to_owned();
        assert_eq!(one(json!("8080:80/tcp")), (None, Some(8080), 80, tcp.clone()));
        assert_eq!(one(json!("80")), (None, None, 80, tcp.clone()));
        assert_eq!(one(json!(80)), (None, None, 80, tcp.clone()));
        assert_eq!(one(json!("53:53/UDP")).3, "udp");
        let local = Some("127.0.0.1".to_owned());
        assert_eq!(one(json!("127.0.0.1:8080:80")), (local.clone(), Some(8080), 80, tcp.clone()));
        assert_eq!(one(json!("127.0.0.1::80")), (local.clone(), None, 80, tcp.clone()));
        assert_eq!(one(json!("127.0.0.1:0:80")), (local.clone(), None, 80, tcp.clone()));
        assert_eq!(one(json!("0:80")), (None, None, 80, tcp.clone()));
        for zero in [json!(0), json!("0")] {
            let any = json!({ "container_port": 80, "host_port": zero });
            assert_eq!(one(any), (None, None, 80, tcp.clone()));
        }
        assert_eq!(
            one(json!("[::1]:8080:80")),
            (Some("::1".to_owned()), Some(8080), 80, tcp.clone())
        );
        let object = json!({ "container_port": "80", "host_port": 8080, "host_ip": "127.0.0.1" });
        assert_eq!(one(object), (local, Some(8080), 80, tcp));
        for bad in [
            json!("x"),
            json!(""),
            json!(":80"),
            json!("80:0"),
            json!("-1:80"),
            json!("99999:80"),
            json!("8080:80/icmp"),
            json!("1.2.3:1:2"),
            json!(-1),
            json!(0),
            json!(70000),
            json!({}),
            json!({ "container_port": 0 }),
            json!(null),
            json!(["80"]),
        ] {
            assert!(ports(json!([bad])).is_err(), "{bad}");
        }
        assert!(ports(json!("80")).is_err());
    }

    #[test]
    fn a_port_of_the_host_is_published_once() {
        let ports = |value| read::<Vec<PortMapping>>("ports", value);
        for twice in [
            json!(["80:80", "80:80"]),
            json!(["80:80", "80:81"]),
            json!(["80:80", "127.0.0.1:80:81"]),
            json!(["0.0.0.0:80:80", "127.0.0.1:80:81"]),
            json!(["[::]:80:80", "[::1]:80:81"]),
            json!(["80:80/udp", { "container_port": 1, "host_port": "80", "protocol": "UDP" }]),
        ] {
            assert!(ports(twice.clone()).unwrap_err().contains("80 is published twice"), "{twice}");
        }
        for apart in [
            json!(["80", "80"]),
            json!(["80:80", "81:80"]),
            json!(["80:80/tcp", "80:80/udp"]),
            json!(["127.0.0.1:80:80", "127.0.0.2:80:80"]),
            json!(["0.0.0.0:80:80", "[::]:80:80"]),
        ] {
            assert_eq!(ports(apart.clone()).map(|ports| ports.len()), Ok(2), "{apart}");
        }
    }

    #[test]
    fn users_are_names_or_numbers_that_the_engine_takes() {
        let user = |text: &str| read::<Option<String>>("user", json!(text));
        for good in ["root", "www-data", "1000", "1000:1000", "2147483647", "app:0", "0x10", "-"] {
            assert_eq!(user(good), Ok(Some(good.to_owned())));
        }
        for bad in ["-1", "4294967295", "2147483648", "99999999999999", "root:-1", "1:4294967295"] {
            assert!(user(bad).unwrap_err().contains("from 0 to 2147483647"), "{bad}");
        }
        assert!(user(&"9".repeat(200)).is_err() && user("a\u{200b}").is_err());
    }

    #[test]
    fn folders_are_paths_that_the_kernel_takes() {
        let folder = |text: String| read::<Option<String>>("workdir", json!(text));
        for good in ["/".to_owned(), "/srv/a b".to_owned(), "/abc".repeat(800)] {
            assert!(folder(good.clone()).is_ok(), "{good}");
        }
        let long = format!("/{}", "x".repeat(256));
        for bad in ["srv".to_owned(), "/ab".repeat(1334), long, "/a\u{202e}b".to_owned()] {
            assert!(folder(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_that_mislead_are_refused() {
        let labels = |value| read::<BTreeMap<String, String>>("labels", value);
        for good in [json!({ "tier": "a\n\tb\r\n" }), json!({ "مي": "می\u{200c}خواهم" })] {
            assert!(labels(good.clone()).is_ok(), "{good}");
        }
        for bad in [
            json!({ "a\u{202e}": "b" }),
            json!({ "a\u{200d}": "b" }),
            json!({ "a": "\u{202e}" }),
            json!({ "a": "\u{1b}[31m" }),
            json!({ "a": "\u{2028}" }),
            json!({ "a": "\0" }),
        ] {
            assert!(labels(bad.clone()).is_err(), "{bad}");
        }
        let environment = json!({ "A": "\u{202e}\u{1b}" });
        assert!(read::<BTreeMap<String, String>>("environment", environment).is_ok());
    }

    #[test]
    fn sizes() {
        let memory = |value| read::<Option<u64>>("memory", value);
        assert_eq!(memory(json!("512m")), Ok(Some(512 << 20)));
        assert_eq!(memory(json!("1GiB")), Ok(Some(1 << 30)));
        assert_eq!(memory(json!(536_870_912)), Ok(Some(512 << 20)));
        assert_eq!(memory(json!("536870912")), Ok(Some(512 << 20)));
        assert_eq!(memory(json!("1.5g")), Ok(Some(1_610_612_736)));
        assert_eq!(memory(json!("0.1 GiB")), Ok(Some(107_374_182)), "cut, as in Docker");
        assert_eq!(memory(json!(".5g")), Ok(Some(512 << 20)));
        for none in [json!(0), json!("0"), json!("0m")] {
            assert_eq!(memory(none), Ok(None));
        }
        for bad in [
            json!("1m"),
            json!("m"),
            json!("-1"),
            json!(-1),
            json!("9999999t"),
            json!("5x"),
            json!(1.5),
            json!(true),
            json!("99999999999999999999"),
            json!(""),
            json!("."),
            json!("1.5.5g"),
            json!("1.5"),
            json!("99999999999999999999.5t"),
        ] {
            assert!(memory(bad.clone()).is_err(), "{bad}");
        }
        let cpu = |value| read::<Option<u32>>("cpu", value);
        assert_eq!(cpu(json!(0.5)), Ok(Some(500)));
        assert_eq!(cpu(json!("2")), Ok(Some(2000)));
        assert_eq!((cpu(json!(0)), cpu(json!("0.0"))), (Ok(None), Ok(None)));
        for bad in [json!(-1), json!("x"), json!(1e30), json!("NaN"), json!("inf")] {
            assert!(cpu(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn environment_is_a_map_or_a_list_and_its_values_are_told_nobody() {
        let environment = |value| read::<BTreeMap<String, String>>("environment", value);
        let wanted: BTreeMap<_, _> = [("A".to_owned(), "b=c".to_owned())].into();
        assert_eq!(environment(json!({ "A": "b=c" })), Ok(wanted.clone()));
        assert_eq!(environment(json!(["A=b=c"])), Ok(wanted));
        assert_eq!(environment(json!({ "N": 5 })).unwrap()["N"], "5");
        assert_eq!(environment(json!({ "GONE": null })).unwrap()["GONE"], UNSET);
        for bad in [
            json!({ "A": ["hunter2"] }),
            json!(["hunter2"]),
            json!("hunter2"),
            json!({ "": "hunter2" }),
            json!({ "A": "hunter2\0" }),
        ] {
            assert!(!environment(bad).unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn restart_policies() {
        let policy = |line: &str| read::<RestartPolicy>("restart_policy", json!(line));
        assert_eq!(policy("no"), Ok(RestartPolicy::No));
        assert_eq!(policy("on-failure:3"), Ok(RestartPolicy::OnFailure(3)));
        assert_eq!(policy("on-failure"), Ok(RestartPolicy::OnFailure(0)));
        let yaml = |value| read::<RestartPolicy>("restart_policy", value);
        assert_eq!(yaml(json!(false)), Ok(RestartPolicy::No));
        assert!(yaml(json!(true)).is_err());
        for bad in ["", "never", "on-failure:x", "on-failure:-1", "always:3"] {
            assert!(policy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn both_names_of_the_image_serve() {
        let parse = |body: Value| {
            let body = Body::checked::<ContainerView>(body.as_object().unwrap());
            body.and_then(|mut body| body.take::<String>("image_id"))
        };
        assert_eq!(parse(json!({ "image": "a" })).unwrap(), "a");
        assert_eq!(parse(json!({ "image_id": null, "image": "a" })).unwrap(), "a");
        assert_eq!(parse(json!({ "image_id": "b", "image": "a" })).unwrap(), "b");
        assert!(parse(json!({})).is_err());
        for bad in ["a b", "", "BusyBox:local", "..", "a/", "http://a.b/c"] {
            assert!(parse(json!({ "image": bad })).unwrap_err().to_string().contains("image_id"));
        }
        let long = format!("{}:{}", "a".repeat(247), "t".repeat(128));
        assert_eq!(parse(json!({ "image": long })).unwrap(), long);
    }
}
