//! Variables of a container: values, and what is only known when the container is made.

use k8s_openapi::api::core::v1::{Container, EnvVar, ResourceFieldSelector};

use crate::manifest::invalid::Invalid;
use crate::manifest::quantity::{self, Parse};

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// From the manifest; references in it are not yet expanded. So are limits, which are known.
    Value(String),
    /// From the pod as it runs.
    Field(FieldSource),
}

/// A field of a pod, as `fieldRef` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldSource {
    /// `metadata.name`
    Name,
    /// `metadata.namespace`
    Namespace,
    /// `metadata.uid`
    Uid,
    /// `metadata.labels['KEY']`; empty if there is no such label.
    Label(String),
    /// `metadata.annotations['KEY']`; empty if there is no such annotation.
    Annotation(String),
    /// `spec.nodeName`
    NodeName,
    /// `status.podIP`
    PodIp,
    /// `status.hostIP`
    HostIp,
}

/// The variables of a container; `all` are those of its pod, whose limits may be values too.
pub(super) fn plan(
    container: &Container,
    all: &[&Container],
    field: &str,
) -> Result<Vec<(String, Variable)>, Invalid> {
    let mut planned = Vec::new();
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let from = source(variable, container, all, &format!("{field}[{index}].valueFrom"))?;
        planned.push((variable.name.clone(), from));
    }
    Ok(planned)
}

fn source(
    variable: &EnvVar,
    container: &Container,
    all: &[&Container],
    field: &str,
) -> Result<Variable, Invalid> {
    let Some(from) = &variable.value_from else {
        return Ok(Variable::Value(variable.value.clone().unwrap_or_default()));
    };
    match (&from.field_ref, &from.resource_field_ref) {
        (Some(of), None) => {
            let path = of.field_path.as_str();
            let source = field_source(path)
                .map_err(|what| Invalid::at(format!("{field}.fieldRef.fieldPath"), &what))?;
            Ok(Variable::Field(source))
        }
        (None, Some(of)) => {
            limit(of, container, all, &format!("{field}.resourceFieldRef")).map(Variable::Value)
        }
        _ => Err(Invalid::at(field, "use one of fieldRef and resourceFieldRef")),
    }
}

fn field_source(path: &str) -> Result<FieldSource, String> {
    let keyed = |beginning: &str| {
        let key = path.strip_prefix(beginning)?.strip_prefix("['")?.strip_suffix("']")?;
        (!key.is_empty()).then(|| key.to_owned())
    };
    match path {
        "metadata.name" => Ok(FieldSource::Name),
        "metadata.namespace" => Ok(FieldSource::Namespace),
        "metadata.uid" => Ok(FieldSource::Uid),
        "spec.nodeName" => Ok(FieldSource::NodeName),
        "status.podIP" => Ok(FieldSource::PodIp),
        "status.hostIP" => Ok(FieldSource::HostIp),
        "spec.serviceAccountName" => Err("a Docker bay has no service accounts".to_owned()),
        _ => keyed("metadata.labels")
            .map(FieldSource::Label)
            .or_else(|| keyed("metadata.annotations").map(FieldSource::Annotation))
            .ok_or_else(|| {
                "a Docker bay knows metadata.name, metadata.namespace, metadata.uid, \
                 metadata.labels['KEY'], metadata.annotations['KEY'], spec.nodeName, status.podIP \
                 and status.hostIP"
                    .to_owned()
            }),
    }
}

/// A limit of a container, in units of a divisor, rounded up.
fn limit(
    of: &ResourceFieldSelector,
    container: &Container,
    all: &[&Container],
    field: &str,
) -> Result<String, Invalid> {
    let at = |name: &str, what: &str| Invalid::at(format!("{field}.{name}"), what);
    let (name, parse): (_, Parse) = match of.resource.as_str() {
        "limits.cpu" => ("cpu", quantity::thousandths),
        "limits.memory" => ("memory", quantity::whole),
        _ => return Err(at("resource", "a Docker bay knows limits.cpu and limits.memory")),
    };
    let named = of.container_name.as_deref().filter(|name| !name.is_empty());
    let whose = match named {
        None => container,
        Some(named) => all
            .iter()
            .find(|container| container.name == named)
            .ok_or_else(|| at("containerName", "the pod has no container of this name"))?,
    };
    let limits = whose.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = limits.and_then(|limits| limits.get(name));
    let limit = limit.ok_or_else(|| at("resource", "the container has no such limit"))?;
    let limit = parse(&limit.0).map_err(|what| at("resource", &what))?;
    let divisor = of.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = parse(divisor).map_err(|what| at("divisor", &what))?;
    // 0 is what an API server writes where none was given.
    let divisor = if divisor == 0 { parse("1").unwrap_or(1) } else { divisor };
    Ok(limit.div_ceil(divisor).to_string())
}
