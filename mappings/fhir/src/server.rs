//! What a FHIR server says beside resources: what it can do, what went wrong, what was found.

use crate::json::{Json, Object, Value};

/// A type that the server reads, and what it can be searched by.
pub struct SearchType {
    /// The FHIR type.
    pub name: &'static str,
    /// The search parameters as name and type (`token`, `string`, `date`, `reference`); none: read only.
    pub parameters: &'static [(&'static str, &'static str)],
}

/// What is said of a search parameter beside its type.
const SHORT_NAMES: &str = "By its beginning, as each word of it. One or two letters are looked for in all patients: narrow the \
                           search by something else too.";

/// `GET /metadata`: claims reading of each type, of its versions where it is kept by the clinic, search where there are
/// parameters, and nothing else.
///
/// `base` is the address of the FHIR API; `version` and `date` (`2026-05-05`) are those of the program.
pub fn capability_statement(base: &str, version: &str, date: &str, types: &[SearchType]) -> Json {
    let resources: Vec<Object> = types
        .iter()
        .map(|of| {
            let mut interactions = vec![Object::new().put("code", "read")];
            // What is no aggregate has no versions.
            let has_versions = !crate::kinds(of.name).is_empty();
            if has_versions {
                interactions.push(Object::new().put("code", "vread"));
            }
            if !of.parameters.is_empty() {
                interactions.push(Object::new().put("code", "search-type"));
            }
            let parameters: Vec<Object> = of
                .parameters
                .iter()
                .map(|(name, kind)| {
                    Object::new()
                        .put("name", *name)
                        .put("type", *kind)
                        .put("documentation", (*kind == "string").then_some(SHORT_NAMES))
                })
                .collect();
            Object::new()
                .put("type", of.name)
                .put("interaction", interactions)
                .put(
                    "versioning",
                    if has_versions { "versioned" } else { "no-version" },
                )
                .put("readHistory", has_versions)
                .put("updateCreate", false)
                .put("searchParam", parameters)
        })
        .collect();
    let rest = Object::new().put("mode", "server").put("resource", resources);
    Object::new()
        .put("resourceType", "CapabilityStatement")
        .put("status", "active")
        .put("date", date)
        .put("publisher", "Punte")
        .put("kind", "instance")
        .put(
            "software",
            Object::new().put("name", "Punte").put("version", version),
        )
        .put(
            "implementation",
            Object::new()
                .put("description", "The clinic, as Punte knows it")
                .put("url", base),
        )
        .put("fhirVersion", "4.0.1")
        .put("format", vec!["application/fhir+json", "json"])
        .put("rest", vec![rest])
        .into()
}

/// Where objects of studies are had by DICOMweb (PS3.18), as an Endpoint with this id. `address`: its base.
pub fn dicomweb_endpoint(id: &str, address: &str) -> Json {
    let kind = Object::new()
        .put(
            "system",
            "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
        )
        .put("code", "dicom-wado-rs");
    Object::new()
        .put("resourceType", "Endpoint")
        .put("id", id)
        .put("status", "active")
        .put("connectionType", kind)
        .put("name", "DICOMweb")
        .put("payloadType", vec![Object::new().put("text", "DICOM")])
        .put(
            "payloadMimeType",
            vec!["application/dicom", "application/dicom+json"],
        )
        .put("address", address)
        .into()
}

/// What went wrong. `severity`: `fatal`, `error`, `warning`, `information`; `code`: of issue-type (`invalid`,
/// `not-found`, `not-supported`, `forbidden`, `login`, `conflict`, `exception` …); `expression`: where, as FHIRPath.
pub fn operation_outcome(
    severity: &'static str,
    code: &'static str,
    diagnostics: &str,
    expression: Option<&str>,
) -> Json {
    let issue = Object::new()
        .put("severity", severity)
        .put("code", code)
        .put("diagnostics", diagnostics)
        .put("expression", expression.into_iter().collect::<Vec<_>>());
    Object::new()
        .put("resourceType", "OperationOutcome")
        .put("issue", vec![issue])
        .into()
}

/// One thing that a search found.
pub struct Found {
    /// The resource.
    pub resource: Json,
    /// `match`, `include` or `outcome`.
    pub mode: &'static str,
}

/// What a search found. `total` only where it was counted; `next` only where there is more.
pub fn searchset(
    base: &str,
    found: Vec<Found>,
    self_link: &str,
    next: Option<&str>,
    total: Option<u32>,
) -> Json {
    let link = |relation: &'static str, url: &str| Object::new().put("relation", relation).put("url", url);
    let mut links = vec![link("self", self_link)];
    links.extend(next.map(|next| link("next", next)));
    let base = base.trim_end_matches('/');
    let entries: Vec<Object> = found
        .into_iter()
        .map(|found| {
            let full_url = found
                .resource
                .resource_type()
                .zip(found.resource.get("id").and_then(Json::as_str))
                .map(|(resource_type, id)| format!("{base}/{resource_type}/{id}"));
            Object::new()
                .put("fullUrl", full_url)
                .put("resource", found.resource)
                .put("search", Object::new().put("mode", found.mode))
        })
        .collect();
    let mut out = Object::new()
        .put("resourceType", "Bundle")
        .put("type", "searchset");
    if let Some(total) = total.and_then(Value::json) {
        out.set("total", total);
    }
    out.put("link", links).put("entry", entries).into()
}
