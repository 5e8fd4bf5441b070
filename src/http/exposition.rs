//! The two text formats of metrics: OpenMetrics 1.0, which the library writes, and Prometheus
//! 0.0.4, made from it; and which of them a client wants.
//!
//! Not here: what is measured (`metrics`).

use std::collections::HashMap;

/// The name of OpenMetrics among types of content.
const OPENMETRICS: &str = "application/openmetrics-text";

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4, which is what everything else reads.
    Prometheus,
}

impl Exposition {
    /// The one that an `Accept` header prefers; OpenMetrics only if it is named.
    pub fn preferred(accept: &str) -> Self {
        let mut best = [0_u32; 2];
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(Some(1.0), |q| q.parse::<f64>().ok()).unwrap_or_default();
            let weight = (weight.clamp(0.0, 1.0) * 1000.0) as u32;
            let [open, plain] = &mut best;
            match media.as_str() {
                OPENMETRICS => *open = weight.max(*open),
                "text/plain" | "text/*" | "*/*" => *plain = weight.max(*plain),
                _ => {}
            }
        }
        let [open, plain] = best;
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its type of content.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// A text in OpenMetrics in this format.
    pub fn written(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Prometheus => prometheus(&openmetrics),
        }
    }
}

/// In Prometheus' format a counter has its whole name in its description, and there is no type
/// `info` or `unknown`, no unit and no end mark.
fn prometheus(openmetrics: &str) -> String {
    let described = |line: &str, what: &str| {
        let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let types: HashMap<_, _> =
        openmetrics.lines().filter_map(|line| described(line, "# TYPE ")).collect();
    let whole = |name: &str| match types.get(name).map(String::as_str) {
        Some("counter") => format!("{name}_total"),
        Some("info") => format!("{name}_info"),
        _ => name.to_owned(),
    };
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if let Some((name, help)) = described(line, "# HELP ") {
            text += &format!("# HELP {} {help}\n", whole(&name));
        } else if let Some((name, kind)) = described(line, "# TYPE ") {
            let kind = match kind.as_str() {
                "info" => "gauge",
                "unknown" => "untyped",
                kind => kind,
            };
            text += &format!("# TYPE {} {kind}\n", whole(&name));
        } else if !line.starts_with("# ") {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_a_client_prefers() {
        use Exposition::{OpenMetrics, Prometheus};
        for (accept, wanted) in [
            ("", Prometheus),
            ("*/*", Prometheus),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Prometheus),
            ("text/plain;version=0.0.4", Prometheus),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0; charset=utf-8", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.9", Prometheus),
            ("application/openmetrics-text;q=0, text/plain;q=0", Prometheus),
            // What Prometheus 2 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
        ] {
            assert_eq!(Exposition::preferred(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_whole_and_has_no_end() {
        let text = "# HELP a_b Things.\n# TYPE a_b counter\na_b_total{x=\"# y\"} 1\n\
            # HELP v Build.\n# TYPE v info\nv_info{version=\"1\"} 1\n\
            # TYPE s histogram\n# UNIT s seconds\ns_sum 1.0\ns_count 1\n# EOF\n";
        let wanted = "# HELP a_b_total Things.\n# TYPE a_b_total counter\na_b_total{x=\"# y\"} 1\n\
            # HELP v_info Build.\n# TYPE v_info gauge\nv_info{version=\"1\"} 1\n\
            # TYPE s histogram\ns_sum 1.0\ns_count 1\n";
        assert_eq!(Exposition::Prometheus.written(text.to_owned()), wanted);
        assert_eq!(Exposition::OpenMetrics.written(text.to_owned()), text);
    }
}
