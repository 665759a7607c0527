//! What was measured of a patient and is of use to a modality.

use uuid::Uuid;

use crate::diagnostics::{Observation, ObservationStatus, Value};
use crate::search::SearchKey;
use crate::value::Quantity;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// How heavy a patient is.
    Weight,
    /// How tall.
    Height,
    /// Whether she is pregnant.
    Pregnancy,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 3] = [Measure::Weight, Measure::Height, Measure::Pregnancy];

    /// What an observation measures, by its LOINC code; none: nothing that is told, or it was called off.
    pub fn of(observation: &Observation) -> Option<Measure> {
        match observation.status {
            Some(ObservationStatus::Cancelled | ObservationStatus::EnteredInError) => return None,
            Some(
                ObservationStatus::Registered
                | ObservationStatus::Preliminary
                | ObservationStatus::Final
                | ObservationStatus::Amended
                | ObservationStatus::Corrected
                | ObservationStatus::Unknown,
            )
            | None => {}
        }
        let codings = observation.code.iter().flat_map(|code| &code.codings);
        let loinc = codings.filter(|coding| {
            let system = coding.system.as_deref();
            matches!(system, Some("http://loinc.org" | "LN"))
        });
        loinc
            .filter_map(|coding| coding.code.as_deref())
            .find_map(|code| match code {
                // Body weight, measured, stated, estimated.
                "29463-7" | "3141-9" | "3142-7" | "8335-2" => Some(Measure::Weight),
                // Body height, measured, stated, lying.
                "8302-2" | "3137-7" | "3138-5" | "8306-3" => Some(Measure::Height),
                "82810-3" => Some(Measure::Pregnancy),
                _ => None,
            })
    }

    /// By which a store finds those of a patient.
    pub fn key(self, patient: Uuid) -> SearchKey {
        let word = match self {
            Measure::Weight => "weight",
            Measure::Height => "height",
            Measure::Pregnancy => "pregnancy",
        };
        SearchKey {
            name: "measure",
            text: format!("{word}|{patient}"),
        }
    }
}

/// The number in kilograms or metres; none: there is no number, or no unit that is known here.
pub fn in_si(observation: &Observation) -> Option<f64> {
    let Some(Value::Quantity(Quantity {
        value: Some(value),
        comparator: None,
        unit,
        code,
        ..
    })) = &observation.value
    else {
        return None;
    };
    let factor = match code.as_deref().or(unit.as_deref())?.trim() {
        "kg" | "m" => 1.0,
        "g" | "mm" => 0.001,
        "cm" => 0.01,
        "[lb_av]" | "lb" | "lbs" => 0.453_592_37,
        "[in_i]" | "in" => 0.0254,
        _ => return None,
    };
    let number: f64 = value.as_str().parse().ok()?;
    (number * factor)
        .is_finite()
        .then_some(number * factor)
        .filter(|number| *number > 0.0)
}
