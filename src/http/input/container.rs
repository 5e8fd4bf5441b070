//! Parsing the description of a container: commands, ports, sizes, environment.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::value::{MAX_TEXT_BYTES, integer, text, type_name};
use crate::events::container::{PortMapping, RestartPolicy};
use crate::http::text::{MAX_NAME_BYTES, shown};
use crate::projections::field_table::MAX_COUNT;

/// The smallest memory limit that Docker takes.
pub const MIN_MEMORY_BYTES: u64 = 6 << 20;

/// Largest memory limit: 8 EiB less one byte, what the engine's signed number holds.
pub const MAX_MEMORY_BYTES: u64 = i64::MAX as u64;

/// Smallest CPU limit, in CPUs: a share of the kernel's scheduler is no finer.
pub const MIN_CPUS: f64 = 0.01;

/// Largest CPU limit, in CPUs: more than any machine has.
pub const MAX_CPUS: f64 = 65_536.0;

/// Most published ports: each costs the engine a proxy process.
pub const MAX_PORTS: usize = 128;

/// Most variables, labels and arguments; the kernel takes about 2 MiB of all of them together.
pub const MAX_ENTRIES: usize = 4096;

/// What is spoken on a published port.
pub const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The words of a command: those of a list, or of a line that is split as a shell would.
///
/// # Errors
/// What is wrong with it.
pub fn words(value: &Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(line) => shell_words::split(line).map_err(|_| {
            "The command has an unclosed quote; close it, or use \\\" or \\'.".to_owned()
        })?,
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(word) => Ok(word.clone()),
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
    words(value).map(|words| Value::from(shell_words::join(words)))
}

/// An image reference.
pub fn image(value: &Value) -> Result<Value, String> {
    let image = text(value, MAX_NAME_BYTES)?;
    if image.chars().any(char::is_whitespace) {
        return Err("An image reference must not contain spaces.".to_owned());
    }
    Ok(Value::from(image))
}

/// An absolute folder.
pub fn folder(value: &Value) -> Result<Value, String> {
    let folder = text(value, MAX_TEXT_BYTES)?;
    if !folder.starts_with('/') {
        return Err("The directory must start with /.".to_owned());
    }
    Ok(Value::from(folder))
}

/// Environment variables; no value is repeated in what it says.
pub fn variables(value: &Value) -> Result<Value, String> {
    pairs(value, |name| !name.is_empty() && !name.contains(['=', '\0']))
}

/// Labels.
pub fn labels(value: &Value) -> Result<Value, String> {
    pairs(value, |name| !name.is_empty() && !name.chars().any(char::is_control))
}

/// A map of names and values, or a list of `NAME=value`.
fn pairs(value: &Value, is_name: fn(&str) -> bool) -> Result<Value, String> {
    let mut pairs = Map::new();
    let mut add = |name: &str, value: &str| {
        if !is_name(name) {
            return Err(format!("'{}' is not a valid name.", shown(name)));
        }
        if value.contains('\0') {
            return Err(format!("The value of {} contains the character U+0000.", shown(name)));
        }
        pairs.insert(name.to_owned(), Value::from(value));
        Ok(())
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) => add(name, text)?,
                    Value::Null => add(name, "")?,
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
    if pairs.len() > MAX_ENTRIES {
        return Err(format!("At most {MAX_ENTRIES} entries."));
    }
    Ok(Value::Object(pairs))
}

/// Published ports.
pub fn ports(value: &Value) -> Result<Value, String> {
    let Value::Array(items) = value else {
        return Err(format!("Expected a list like [\"8080:80/tcp\"], got {}.", type_name(value)));
    };
    if items.len() > MAX_PORTS {
        return Err(format!("At most {MAX_PORTS} ports."));
    }
    let ports: Result<Vec<PortMapping>, String> = items.iter().map(port).collect();
    Ok(json!(ports?))
}

/// One published port: `[[ip:]host_port:]container_port[/protocol]`, a number, or an object.
fn port(value: &Value) -> Result<PortMapping, String> {
    let number = |value: &Value| integer(value, 1, 65_535).map(|port| port as u16);
    match value {
        Value::Number(_) => Ok(mapping(number(value)?, None, None, "tcp")?),
        Value::String(line) => port_line(line),
        Value::Object(fields) => {
            let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
            let string =
                |name: &str| field(name).map(|value| text(value, MAX_NAME_BYTES)).transpose();
            let container = field("container_port").ok_or("A port needs a container_port.")?;
            let host = field("host_port").map(number).transpose()?;
            let protocol = string("protocol")?.unwrap_or("tcp");
            mapping(number(container)?, host, string("host_ip")?, protocol)
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
    let number = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("'{}' is not a port such as 8080:80/tcp.", shown(line)))
    };
    let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']'));
    // `127.0.0.1::80`: any free port of that address.
    let host = host.filter(|host| !(host.is_empty() && ip.is_some())).map(number).transpose()?;
    mapping(number(container)?, host, ip, protocol)
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
    Ok(PortMapping { container_port, host_port, host_ip, protocol })
}

/// Bytes: a number, or text with a unit such as `512m` or `1GiB`, in powers of 1024 as in Docker.
pub fn memory(value: &Value) -> Result<Value, String> {
    let bytes = match value {
        Value::String(line) => {
            let line = line.trim().to_ascii_lowercase();
            let unit_at = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
            let (digits, unit) = line.split_at(unit_at);
            let shift = match unit.trim() {
                "" | "b" => 0,
                "k" | "kb" | "kib" => 10,
                "m" | "mb" | "mib" => 20,
                "g" | "gb" | "gib" => 30,
                "t" | "tb" | "tib" => 40,
                _ => return Err("Use bytes, or a number with b, k, m, g or t: 512m.".to_owned()),
            };
            let number: u64 = digits
                .parse()
                .map_err(|_| "Use bytes, or a number with b, k, m, g or t: 512m.".to_owned())?;
            number.checked_mul(1 << shift).ok_or("The limit is too large.")?
        }
        other => integer(other, 0, MAX_MEMORY_BYTES)?,
    };
    match bytes {
        MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES => Ok(Value::from(bytes)),
        0..MIN_MEMORY_BYTES => Err("The smallest memory limit is 6m.".to_owned()),
        _ => Err("The limit is too large.".to_owned()),
    }
}

/// A number of CPUs, as thousandths.
pub fn cpus(value: &Value) -> Result<Value, String> {
    let cpus = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(line) => line.trim().parse().ok(),
        _ => None,
    };
    match cpus {
        Some(cpus) if (MIN_CPUS..=MAX_CPUS).contains(&cpus) => {
            Ok(Value::from((cpus * 1000.0).round() as u32))
        }
        _ => Err(format!("Use a number of CPUs from {MIN_CPUS} to {MAX_CPUS}, such as 0.5.")),
    }
}

/// When the engine starts it again.
pub fn restart_policy(value: &Value) -> Result<Value, String> {
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
        for bad in [json!("echo 'a"), json!("echo \"a"), json!(5), json!([1]), json!("a\0b")] {
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
            json!("0:80"),
            json!("80:0"),
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
    fn sizes() {
        let memory = |value| read::<Option<u64>>("memory", value);
        assert_eq!(memory(json!("512m")), Ok(Some(512 << 20)));
        assert_eq!(memory(json!("1GiB")), Ok(Some(1 << 30)));
        assert_eq!(memory(json!(536_870_912)), Ok(Some(512 << 20)));
        assert_eq!(memory(json!("536870912")), Ok(Some(512 << 20)));
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
        ] {
            assert!(memory(bad.clone()).is_err(), "{bad}");
        }
        let cpu = |value| read::<Option<u32>>("cpu", value);
        assert_eq!(cpu(json!(0.5)), Ok(Some(500)));
        assert_eq!(cpu(json!("2")), Ok(Some(2000)));
        for bad in [json!(0), json!(-1), json!("x"), json!(1e30), json!("NaN"), json!("inf")] {
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
        assert!(parse(json!({ "image": "a b" })).is_err());
    }
}
