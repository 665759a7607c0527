//! Concepts to CWE (HL7 v2.5.1 §2.A.13): the inverse of [`crate::hl7v2::decode::terms`].

use std::sync::OnceLock;

use clinic::value::{Coding, Concept};

use super::wire::{ot, t};
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::terms::{self, Table};

/// The name that HL7 table 0396 has for a system; one that it doesn't name stays as it is.
pub(super) fn system_name(system: &str) -> String {
    let known = match system {
        terms::LOINC => "LN",
        terms::UCUM => "UCUM",
        "http://snomed.info/sct" => "SCT",
        "http://hl7.org/fhir/sid/icd-10" => "I10",
        "http://hl7.org/fhir/sid/icd-10-cm" => "I10C",
        "http://www.cms.gov/Medicare/Coding/ICD10" => "I10P",
        "http://hl7.org/fhir/sid/icd-9" => "I9",
        "http://hl7.org/fhir/sid/icd-9-cm" => "I9C",
        "http://www.whocc.no/atc" => "ATC",
        "http://hl7.org/fhir/sid/cvx" => "CVX",
        "http://hl7.org/fhir/sid/mvx" => "MVX",
        "http://hl7.org/fhir/sid/ndc" => "NDC",
        "http://www.nlm.nih.gov/research/umls/rxnorm" => "RXNORM",
        "http://www.ama-assn.org/go/cpt" => "C4",
        "http://dicom.nema.org/resources/ontology/DCM" => "DCM",
        "urn:ietf:bcp:47" => "ISO639-1",
        "urn:iso:std:iso:639:-2" => "ISO639-2",
        "urn:iso:std:iso:3166" => "ISO3166",
        "urn:iso:std:iso:4217" => "ISO4217",
        "urn:oid:2.16.840.1.113883.6.238" => "CDCREC",
        "http://www.ada.org/cdt" => "CDT",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    if let Some(name) = system.strip_prefix("http://terminology.hl7.org/CodeSystem/") {
        match name {
            "v3-NullFlavor" => return "NULLFL".to_owned(),
            "v3-ActCode" => return "ACTCODE".to_owned(),
            "icd-o-3" => return "ICDO3".to_owned(),
            _ => {}
        }
        if let Some(number) = name.strip_prefix("v2-")
            && number.len() == 4
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            return format!("HL7{number}");
        }
    }
    let bare = system.strip_prefix("urn:oid:").filter(|oid| terms::is_oid(oid));
    bare.unwrap_or(system).to_owned()
}

/// A concept as the components of a CWE. What the decoder derives from the sender's own code is left out; a code that
/// has one in the field's table gets that first. A code of the field's own table without words stands alone, as in IS
/// and ID.
pub(super) fn cwe(concept: &Concept, table: Table, profile: &Profile) -> Vec<String> {
    let codings = own_codings(concept, table, profile);
    if codings.is_empty() {
        return vec![String::new(), ot(concept.text.as_ref())];
    }
    if let ([only], None) = (codings.as_slice(), &concept.text)
        && !table.number.is_empty()
        && only.system.as_deref() == Some(terms::v2(table.number).as_str())
        && only.display.is_none()
        && only.version.is_none()
    {
        return vec![ot(only.code.as_ref())];
    }
    let mut out = vec![String::new(); 13];
    let places = [[0, 1, 2, 6], [3, 4, 5, 7], [9, 10, 11, 12]];
    for (coding, [code, display, system, version]) in codings.iter().zip(places) {
        out[code] = ot(coding.code.as_ref());
        out[display] = ot(coding.display.as_ref());
        out[system] = coding
            .system
            .as_deref()
            .map(|s| t(&system_name(s)))
            .unwrap_or_default();
        out[version] = ot(coding.version.as_ref());
    }
    out[8] = ot(concept.text.as_ref());
    out
}

/// One coding as the components of a CWE.
pub(super) fn coding(coding: &Coding, table: Table, profile: &Profile) -> Vec<String> {
    let concept = Concept {
        codings: vec![coding.clone()],
        text: None,
    };
    let mut out = cwe(&concept, table, profile);
    // Only the first is asked for, and it is the field's own where there is one.
    out.truncate(3);
    out
}

/// The codes that the sender gave.
pub(super) fn own_codings(concept: &Concept, table: Table, profile: &Profile) -> Vec<Coding> {
    let all = &concept.codings;
    let of_table = |coding: &Coding| {
        !table.number.is_empty() && coding.system.as_deref() == Some(terms::v2(table.number).as_str())
    };
    let derived = |idx: usize| {
        all.iter().skip(idx + 1).any(|later| {
            let (Some(system), Some(code)) = (&later.system, &later.code) else {
                return false;
            };
            of_table(later) && terms::translate(table.map, code).as_ref() == all.get(idx)
                || profile
                    .codes
                    .get(&(system.clone(), code.clone()))
                    .is_some_and(|others| all.get(idx).is_some_and(|one| others.contains(one)))
        })
    };
    let mut own: Vec<Coding> = (0..all.len())
        .filter(|idx| !derived(*idx))
        .filter_map(|idx| all.get(idx).cloned())
        .collect();
    if !table.map.is_empty()
        && !own.iter().any(of_table)
        && let Some(code) = own.first().and_then(|first| v2_code(table.map, first))
    {
        let first = Coding {
            system: Some(terms::v2(table.number)),
            version: None,
            code: Some(code.to_owned()),
            display: None,
        };
        own.insert(0, first);
    }
    own
}

/// Which v2 code a map leads to this code: the first of those that do.
pub(super) fn v2_code(map: &str, coding: &Coding) -> Option<&'static str> {
    static ROWS: OnceLock<Vec<[&'static str; 4]>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        let lines = include_str!("../decode/tables/codes.tsv").lines();
        let rows = lines.filter(|line| !line.starts_with('#')).filter_map(|line| {
            let mut columns = line.split('\t');
            Some([columns.next()?, columns.next()?, columns.next()?, columns.next()?])
        });
        rows.collect()
    });
    let (system, code) = (coding.system.as_deref()?, coding.code.as_deref()?);
    rows.iter()
        .find(|[of, _, at, to]| {
            *of == map && *to == code && (*at == system || !at.contains("://") && terms::hl7(at) == system)
        })
        .map(|[_, from, _, _]| *from)
}

/// The code of an HL7 table in a concept.
pub(super) fn code_of<'c>(concept: &'c Concept, number: &str) -> Option<&'c String> {
    let system = terms::v2(number);
    concept
        .codings
        .iter()
        .find(|coding| coding.system.as_deref() == Some(system.as_str()))
        .and_then(|coding| coding.code.as_ref())
}

/// A concept in words.
pub(super) fn words(concept: &Concept) -> String {
    let coding = || {
        concept
            .codings
            .iter()
            .find_map(|coding| coding.display.as_ref().or(coding.code.as_ref()))
    };
    ot(concept.text.as_ref().or_else(coding))
}
