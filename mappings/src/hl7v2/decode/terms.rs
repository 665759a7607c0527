//! Codes and their systems: CWE, CE, CNE, CF, IS and ID to concepts (HL7 v2.5.1 §2.A.13, table 0396).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use clinic::value::{Coding, Concept};

use super::collect::At;

/// LOINC.
pub const LOINC: &str = "http://loinc.org";
/// UCUM.
pub const UCUM: &str = "http://unitsofmeasure.org";
/// Where HL7's own code systems live.
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem/";

/// Which table a field's codes are from, and which map leads from them to the codes that FHIR uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Table {
    /// The number of the HL7 table, four digits; empty for none.
    pub number: &'static str,
    /// The map in `tables/codes.tsv`; empty for none.
    pub map: &'static str,
}

/// A field without a table.
pub const NO_TABLE: Table = Table { number: "", map: "" };

/// A table whose codes stay as they are.
pub const fn table(number: &'static str) -> Table {
    Table { number, map: "" }
}

/// A table whose codes have others in FHIR.
pub const fn mapped(number: &'static str, map: &'static str) -> Table {
    Table { number, map }
}

/// The URI of an HL7 table: `0002` → `http://terminology.hl7.org/CodeSystem/v2-0002`.
pub fn v2(number: &str) -> String {
    format!("{TERMINOLOGY}v2-{number}")
}

/// The URI of one of HL7's own systems: `v3-ActCode` → `http://terminology.hl7.org/CodeSystem/v3-ActCode`.
pub fn hl7(name: &str) -> String {
    format!("{TERMINOLOGY}{name}")
}

/// The URI of a coding system as HL7 table 0396 and common usage name it; a name that is not known stays as it is.
pub fn system_uri(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    if name.contains("://") || name.starts_with("urn:") {
        return Cow::Borrowed(name);
    }
    if is_oid(name) {
        return match uri_of_oid(name) {
            Some(uri) => Cow::Borrowed(uri),
            None => Cow::Owned(format!("urn:oid:{name}")),
        };
    }
    let upper = name.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("HL7") {
        let number = number.trim_start_matches(['-', '_', ' ']);
        if number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()) {
            return Cow::Owned(v2(number));
        }
    }
    let known = match upper.as_str() {
        "LN" | "LOINC" => LOINC,
        "SCT" | "SCT2" | "SNOMED" | "SNOMED-CT" | "SNOMED CT" | "SNM3" => "http://snomed.info/sct",
        "I10" | "ICD10" | "ICD-10" => "http://hl7.org/fhir/sid/icd-10",
        "I10C" | "ICD10CM" | "ICD-10-CM" => "http://hl7.org/fhir/sid/icd-10-cm",
        "I10P" | "ICD10PCS" => "http://www.cms.gov/Medicare/Coding/ICD10",
        "I9" | "ICD9" | "ICD-9" => "http://hl7.org/fhir/sid/icd-9",
        "I9C" | "I9CDX" | "I9CP" | "ICD9CM" | "ICD-9-CM" => "http://hl7.org/fhir/sid/icd-9-cm",
        "UCUM" => UCUM,
        "ATC" | "WC" => "http://www.whocc.no/atc",
        "CVX" => "http://hl7.org/fhir/sid/cvx",
        "MVX" => "http://hl7.org/fhir/sid/mvx",
        "NDC" => "http://hl7.org/fhir/sid/ndc",
        "RXNORM" => "http://www.nlm.nih.gov/research/umls/rxnorm",
        "C4" | "CPT4" | "CPT" => "http://www.ama-assn.org/go/cpt",
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        "ISO639" | "ISO639-1" | "ISO 639-1" | "BCP47" => "urn:ietf:bcp:47",
        "ISO639-2" | "ISO 639-2" => "urn:iso:std:iso:639:-2",
        "ISO3166" | "ISO3166_1" | "ISO3166-1" | "ISO3166-2" => "urn:iso:std:iso:3166",
        "ISO4217" => "urn:iso:std:iso:4217",
        "NULLFL" => "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
        "ACTCODE" => "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "CDCREC" => "urn:oid:2.16.840.1.113883.6.238",
        "MDC" => "urn:iso:std:iso:11073:10101",
        "CDT" => "http://www.ada.org/cdt",
        "ICDO3" => "http://terminology.hl7.org/CodeSystem/icd-o-3",
        _ => return Cow::Borrowed(name),
    };
    Cow::Borrowed(known)
}

/// The systems that FHIR wants named by a URI of their own, by the object identifiers that HL7 v2 and CDA know them by
/// (FHIR R4, 4.3).
fn uri_of_oid(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.16.840.1.113883.6.1" => LOINC,
        "2.16.840.1.113883.6.96" => "http://snomed.info/sct",
        "2.16.840.1.113883.6.8" => UCUM,
        "2.16.840.1.113883.6.3" => "http://hl7.org/fhir/sid/icd-10",
        "2.16.840.1.113883.6.42" => "http://hl7.org/fhir/sid/icd-9",
        "2.16.840.1.113883.6.90" => "http://hl7.org/fhir/sid/icd-10-cm",
        "2.16.840.1.113883.6.103" | "2.16.840.1.113883.6.104" => "http://hl7.org/fhir/sid/icd-9-cm",
        "2.16.840.1.113883.6.73" => "http://www.whocc.no/atc",
        "2.16.840.1.113883.6.88" => "http://www.nlm.nih.gov/research/umls/rxnorm",
        "2.16.840.1.113883.6.69" => "http://hl7.org/fhir/sid/ndc",
        "2.16.840.1.113883.12.292" => "http://hl7.org/fhir/sid/cvx",
        "2.16.840.1.113883.6.12" => "http://www.ama-assn.org/go/cpt",
        "1.2.840.10008.2.16.4" => "http://dicom.nema.org/resources/ontology/DCM",
        _ => return None,
    })
}

/// The URI of something that names itself: an OID, a UUID, a URI.
pub fn system_uri_of_id(id: &str) -> Option<String> {
    if is_oid(id) {
        Some(format!("urn:oid:{id}"))
    } else if id.len() == 36 && uuid::Uuid::parse_str(id).is_ok() {
        Some(format!("urn:uuid:{}", id.to_ascii_lowercase()))
    } else if (id.contains("://") || id.starts_with("urn:")) && !id.contains(char::is_whitespace) {
        Some(id.to_owned())
    } else {
        None
    }
}

/// True for digits and dots as an object identifier has them.
pub fn is_oid(text: &str) -> bool {
    text.len() >= 5
        && text.len() <= 128
        && text.starts_with(['0', '1', '2'])
        && text.split('.').count() >= 3
        && text.split('.').all(|arc| {
            !arc.is_empty()
                && arc.bytes().all(|b| b.is_ascii_digit())
                && (arc == "0" || !arc.starts_with('0'))
        })
}

/// What a v2 code is called in the system that FHIR uses for it.
pub fn translate(map: &str, code: &str) -> Option<Coding> {
    static CODES: OnceLock<HashMap<(&'static str, &'static str), Coding>> = OnceLock::new();
    let codes = CODES.get_or_init(|| {
        include_str!("tables/codes.tsv")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut columns = line.split('\t');
                let (map, from) = (columns.next()?, columns.next()?);
                let (system, code, display) = (columns.next()?, columns.next()?, columns.next()?);
                let system = if system.contains("://") {
                    system.to_owned()
                } else {
                    hl7(system)
                };
                let display = Some(display).filter(|d| !d.is_empty());
                Some(((map, from), Coding::new(&system, code, display)))
            })
            .collect()
    });
    codes.get(&(map, code)).cloned()
}

/// CWE → concept: up to three codes with their systems and versions, and the original text. A code without a system
/// is one of the field's table. What the table maps to another code stands first, the sender's own code behind it.
pub fn concept(at: At<'_>, table: Table) -> Option<Concept> {
    let mut out = Concept::default();
    for (code, system, version, oid) in [(1, 3, 7, 14), (4, 6, 8, 17), (10, 12, 13, 20)] {
        let default = if code == 1 { table.number } else { "" };
        let Some(coding) = coding_at(at, [code, code + 1, system, version, oid], default) else {
            continue;
        };
        let of_table =
            !table.number.is_empty() && coding.system.as_deref() == Some(v2(table.number).as_str());
        if let Some(better) = coding
            .code
            .as_deref()
            .filter(|_| of_table)
            .and_then(|c| translate(table.map, c))
        {
            out.codings.push(better);
        }
        if let (Some(system), Some(code)) = (&coding.system, &coding.code) {
            let key = (system.clone(), code.clone());
            out.codings
                .extend(at.profile().codes.get(&key).into_iter().flatten().cloned());
        }
        out.codings.push(coding);
    }
    out.text = at.part(9).text();
    let words = |c: &Coding| c.code.is_none() && c.system.is_none() && c.version.is_none();
    if out.text.is_none() && out.codings.iter().all(words) {
        // Words alone: they are the text. The coding would be a display of nothing.
        out.text = out.codings.first().and_then(|c| c.display.clone());
        if out.codings.len() == 1 {
            out.codings.clear();
        }
    }
    (!out.is_empty()).then_some(out)
}

/// The first code of a CWE only; the others stay for whoever takes them.
pub fn coding(at: At<'_>, table: Table) -> Option<Coding> {
    coding_at(at, [1, 2, 3, 7, 14], table.number)
}

/// Code, display, system, version and the system's OID at these components.
fn coding_at(at: At<'_>, [code, display, system, version, oid]: [usize; 5], default: &str) -> Option<Coding> {
    let code = at.part(code).text();
    let display = at.part(display).text();
    if code.is_none() && display.is_none() {
        return None;
    }
    let by_name = at.part(system).text();
    let by_oid = match &by_name {
        Some(_) => None,
        None => at.part(oid).peek().filter(|oid| is_oid(oid)),
    };
    if by_oid.is_some() {
        at.part(oid).take();
    }
    let system = match (by_name, by_oid) {
        (Some(name), _) => Some(system_uri(&name).into_owned()),
        (None, Some(oid)) => Some(format!("urn:oid:{oid}")),
        (None, None) => (code.is_some() && !default.is_empty()).then(|| v2(default)),
    };
    let version = at.part(version).text();
    Some(Coding {
        system,
        version,
        code,
        display,
    })
}

/// Words of a CWE where only words are asked for: original text, else text, else code. What is not told stays.
pub fn words(at: At<'_>) -> Option<String> {
    [9, 2, 1].into_iter().find_map(|part| at.part(part).text())
}

/// A concept that is empty but for what a code of this table maps to.
pub fn concept_of(number: &str, map: &str, code: &str) -> Concept {
    let original = Coding::new(&v2(number), code, None);
    let codings = translate(map, code).into_iter().chain([original]).collect();
    Concept { codings, text: None }
}

/// ISO 639 → BCP 47: the two-letter code where there is one. HL7 table 0296 names three-letter codes.
pub fn bcp47(code: &str) -> Option<&'static str> {
    let lower = code.to_ascii_lowercase();
    let two = match lower.as_str() {
        "ro" | "ron" | "rum" | "mo" | "mol" => "ro",
        "hu" | "hun" => "hu",
        "en" | "eng" => "en",
        "de" | "deu" | "ger" => "de",
        "fr" | "fra" | "fre" => "fr",
        "it" | "ita" => "it",
        "es" | "spa" => "es",
        "pt" | "por" => "pt",
        "ru" | "rus" => "ru",
        "uk" | "ukr" => "uk",
        "bg" | "bul" => "bg",
        "sr" | "srp" | "scc" => "sr",
        "hr" | "hrv" | "scr" => "hr",
        "tr" | "tur" => "tr",
        "el" | "ell" | "gre" => "el",
        "pl" | "pol" => "pl",
        "cs" | "ces" | "cze" => "cs",
        "sk" | "slk" | "slo" => "sk",
        "nl" | "nld" | "dut" => "nl",
        "sv" | "swe" => "sv",
        "da" | "dan" => "da",
        "fi" | "fin" => "fi",
        "no" | "nor" => "no",
        "he" | "heb" => "he",
        "ar" | "ara" => "ar",
        "zh" | "zho" | "chi" => "zh",
        "ja" | "jpn" => "ja",
        "ko" | "kor" => "ko",
        "vi" | "vie" => "vi",
        "hi" | "hin" => "hi",
        "sq" | "sqi" | "alb" => "sq",
        "yi" | "yid" => "yi",
        "rom" => "rom",
        _ => return None,
    };
    Some(two)
}
