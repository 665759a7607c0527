//! Organization and Location (HL7 v2-to-FHIR: XON, HD, PL).

use clinic::Record;
use clinic::places::{Clinic, OrganizationContact, Room, Site};

use crate::context::Context;
use crate::json::{Json, Object, Value};
use crate::types;

const PHYSICAL_TYPE: &str = "http://terminology.hl7.org/CodeSystem/location-physical-type";

pub(crate) fn organization(of: &Clinic, record: &Record, ctx: &Context<'_>) -> Object {
    Object::new()
        .put("resourceType", "Organization")
        .put(
            "identifier",
            types::identifiers_or_name(&of.identifiers, of.name.as_ref(), record.meta.id),
        )
        .put("active", of.active)
        .put("type", types::concepts(&of.kinds))
        .put("name", of.name.as_ref())
        .put("alias", types::strings(&of.aliases))
        .put("telecom", types::contact_points_of_organization(&of.telecoms))
        .put("address", types::addresses_of_organization(&of.addresses))
        .put("partOf", ctx.optional(of.part_of.as_ref()))
        .put("contact", of.contacts.iter().map(contact).collect::<Vec<_>>())
}

fn contact(of: &OrganizationContact) -> Option<Json> {
    Object::new()
        .put("purpose", types::concept_of(of.purpose.as_ref()))
        .put("name", of.name.as_ref().map(types::human_name))
        .put("telecom", types::contact_points(&of.telecoms))
        .put("address", of.address.as_ref().map(types::address))
        .json()
}

pub(crate) fn site(of: &Site, record: &Record, ctx: &Context<'_>) -> Object {
    Object::new()
        .put("resourceType", "Location")
        .put(
            "identifier",
            types::identifiers_or_name(&of.identifiers, of.name.as_ref(), record.meta.id),
        )
        .put("status", of.status.map(|s| s.as_str()))
        .put("name", of.name.as_ref())
        .put("description", of.description.as_ref())
        .put("mode", "instance")
        .put("telecom", types::contact_points(&of.telecoms))
        .put("address", of.address.as_ref().map(types::address))
        .put("physicalType", types::coded(PHYSICAL_TYPE, "si"))
        .put("managingOrganization", ctx.optional(of.clinic.as_ref()))
}

pub(crate) fn room(of: &Room, record: &Record, ctx: &Context<'_>) -> Object {
    let usage = types::concept_of(of.usage.as_ref()).json();
    Object::new()
        .put("resourceType", "Location")
        .put(
            "identifier",
            types::identifiers_or_name(&of.identifiers, of.name.as_ref(), record.meta.id),
        )
        .put("status", of.status.map(|s| s.as_str()))
        .put(
            "operationalStatus",
            of.operational_status.as_ref().map(types::coding),
        )
        .put("name", of.name.as_ref())
        .put("description", of.description.as_ref())
        .put("mode", "instance")
        .put("type", usage.into_iter().collect::<Vec<_>>())
        .put("telecom", types::contact_points(&of.telecoms))
        .put("address", of.address.as_ref().map(types::address))
        .put(
            "physicalType",
            of.kind.map(|kind| types::coded(PHYSICAL_TYPE, kind.as_str())),
        )
        .put("managingOrganization", ctx.optional(of.clinic.as_ref()))
        .put("partOf", ctx.optional(of.part_of.as_ref()))
}
