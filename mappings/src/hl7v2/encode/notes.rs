//! Remarks → NTE. HL7 v2.5.1, 2.15.10.

use clinic::value::Annotation;

use super::datatypes as data;
use super::terms;
use super::wire::{Seg, comps, t};
use super::world::World;
use crate::hl7v2::decode::terms::{NO_TABLE, table};

/// True for a remark that is nothing but a text. Behind another it reads as a further line of that one.
pub(super) fn is_plain(remark: &Annotation) -> bool {
    remark.author.is_none() && remark.time.is_none() && remark.kind.is_none() && remark.code.is_none()
}

/// True for a remark that is a text of this kind and nothing else.
pub(super) fn is_of(remark: &Annotation, kind: &str) -> bool {
    let its = remark.kind.as_ref();
    its.is_some_and(|its| its.codings.is_empty() && its.text.as_deref() == Some(kind))
        && remark.author.is_none()
        && remark.time.is_none()
        && remark.code.is_none()
}

/// An NTE for each remark, counted from 1.
pub(super) fn ntes<'r>(world: &World<'_>, remarks: impl IntoIterator<Item = &'r Annotation>) -> Vec<Seg> {
    let remarks = remarks.into_iter().enumerate();
    remarks.map(|(idx, remark)| nte(world, idx + 1, remark)).collect()
}

fn nte(world: &World<'_>, number: usize, remark: &Annotation) -> Seg {
    let profile = world.profile;
    let mut nte = Seg::numbered("NTE", number);
    nte.put(3, t(&remark.text));
    if let Some(kind) = &remark.kind {
        nte.put(4, comps(terms::cwe(kind, table("0364"), profile)));
    }
    nte.comps(5, data::xcn_of(world, remark.author.as_ref()));
    nte.put(6, data::owhen(remark.time.as_ref()));
    if let Some(code) = &remark.code {
        nte.put(9, comps(terms::cwe(code, NO_TABLE, profile)));
    }
    nte
}
