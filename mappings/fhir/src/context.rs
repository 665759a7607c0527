//! What the builders of resources need to know of their surroundings: how a reference is written here, and where the
//! small resources go that a bigger one needs (a medicine, a role).

use clinic::Kind;
use clinic::value::{Identifier, Ref};
use uuid::Uuid;

use crate::fhir_type;
use crate::json::{Json, Object};
use crate::types;

/// How a reference to an aggregate is written. `None`: it can't be followed here, so it is written as an identifier.
pub(crate) type Follow<'a> = &'a dyn Fn(Kind, Uuid) -> Option<String>;

/// The surroundings of one resource while it is built.
pub(crate) struct Context<'a> {
    follow: Follow<'a>,
    owner: Uuid,
    /// True: the small ones stand beside it (in a bundle); false: inside it, as `contained`.
    apart: bool,
    small: Vec<(Uuid, Json)>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(owner: Uuid, follow: Follow<'a>, apart: bool) -> Self {
        Context {
            follow,
            owner,
            apart,
            small: vec![],
        }
    }

    /// A reference. One that leads nowhere is never written: what can't be followed goes by our identifier of it.
    pub(crate) fn reference(&self, to: &Ref) -> Option<Json> {
        self.reference_with(to, Object::new())
    }

    /// A reference that says more: an extension, an identifier.
    pub(crate) fn reference_with(&self, to: &Ref, more: Object) -> Option<Json> {
        let Ref::Id(kind, id) = to else { return None };
        let object = match (self.follow)(*kind, *id) {
            Some(reference) => Object::new().put("reference", reference),
            None => Object::new()
                .put("type", fhir_type(*kind))
                .put("identifier", types::own_identifier(*id)),
        };
        Some(object.with(more).into())
    }

    pub(crate) fn optional(&self, to: Option<&Ref>) -> Option<Json> {
        to.and_then(|to| self.reference(to))
    }

    pub(crate) fn references(&self, to: &[Ref]) -> Vec<Json> {
        to.iter().filter_map(|to| self.reference(to)).collect()
    }

    /// A reference that must be there: unknown where it isn't.
    pub(crate) fn required(&self, to: Option<&Ref>) -> Json {
        self.optional(to).unwrap_or_else(unknown_reference)
    }

    /// Takes a small resource of this one, and gives a reference to it.
    pub(crate) fn small(&mut self, name: &'static str, resource: Object) -> Json {
        let id = crate::types::derived_id(self.owner, name);
        let (own_id, reference) = if self.apart {
            (id.to_string(), format!("urn:uuid:{id}"))
        } else {
            (name.to_owned(), format!("#{name}"))
        };
        let mut whole = Object::new();
        if let Some(resource_type) = resource.get("resourceType").cloned() {
            whole.set("resourceType", resource_type);
        }
        whole.set("id", own_id);
        if self.apart {
            whole.set("identifier", vec![types::own_identifier(id)]);
        }
        self.small.push((id, whole.with(resource).into()));
        Object::new().put("reference", reference).into()
    }

    /// The aggregate that is being told.
    pub(crate) fn owner(&self) -> Uuid {
        self.owner
    }

    /// True where the small ones stand beside this one.
    pub(crate) fn apart(&self) -> bool {
        self.apart
    }

    /// The small ones.
    pub(crate) fn into_small(self) -> Vec<(Uuid, Json)> {
        self.small
    }
}

/// The way of FHIR to say that there must be somebody, and nobody is known.
pub(crate) fn unknown_reference() -> Json {
    Object::new().put("extension", vec![types::absent()]).into()
}

/// A reference by the numbers of something that is not kept as an aggregate here.
pub(crate) fn logical(resource_type: &'static str, identifier: &Identifier) -> Option<Json> {
    let identifier = types::identifier(identifier)?;
    Some(
        Object::new()
            .put("type", resource_type)
            .put("identifier", identifier)
            .into(),
    )
}
