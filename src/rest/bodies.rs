//! What bodies may hold, for the document: read off the table of attributes.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, Object, Schema, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::attributes::{Deed, ROWS, Shape, Use, row_of};

/// A pool that is to be made
#[derive(Clone, Copy, Debug)]
pub struct NewPool;

/// What is to be changed of a pool
#[derive(Clone, Copy, Debug)]
pub struct PoolChange;

/// What goes with a removal
#[derive(Clone, Copy, Debug)]
pub struct Removal;

impl PartialSchema for NewPool {
    fn schema() -> RefOr<Schema> {
        of(Deed::Create)
            .description(Some("A pool that is to be made"))
            .build()
            .into()
    }
}

impl ToSchema for NewPool {
    fn name() -> Cow<'static, str> {
        "NewPool".into()
    }
}

impl PartialSchema for PoolChange {
    fn schema() -> RefOr<Schema> {
        of(Deed::Change)
            .min_properties(Some(1))
            .description(Some("What is to be changed of a pool"))
            .build()
            .into()
    }
}

impl ToSchema for PoolChange {
    fn name() -> Cow<'static, str> {
        "PoolChange".into()
    }
}

impl PartialSchema for Removal {
    fn schema() -> RefOr<Schema> {
        let token = row_of("token").map(|row| (row.name, attribute(row.shape, row.meaning)));
        let object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Object))
            .description(Some("What goes with a removal"))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        token
            .into_iter()
            .fold(object, |object, (name, schema)| {
                object.property(name, schema)
            })
            .build()
            .into()
    }
}

impl ToSchema for Removal {
    fn name() -> Cow<'static, str> {
        "PoolRemoval".into()
    }
}

fn of(deed: Deed) -> ObjectBuilder {
    let mut object = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for row in ROWS {
        let given = row.on(deed);
        if !matches!(given, Use::Required | Use::Allowed) {
            continue;
        }
        object = object.property(row.name, attribute(row.shape, row.meaning));
        if given == Use::Required {
            object = object.required(row.name);
        }
    }
    object
}

fn attribute(shape: Shape, meaning: &str) -> Object {
    let builder = ObjectBuilder::new().description(Some(meaning));
    let of = |builder: ObjectBuilder, kind| builder.schema_type(SchemaType::Type(kind));
    match shape {
        Shape::Text => of(builder, Type::String).min_length(Some(1)),
        Shape::AnyText => of(builder, Type::String),
        Shape::Number(least) => of(builder, Type::Integer).minimum(Some(least)),
        Shape::Word(words) => of(builder, Type::String).enum_values(Some(words.iter().copied())),
    }
    .build()
}
