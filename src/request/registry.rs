//! Which factory makes the rounds of which type of object. Its first entry is the pool.

use super::factory::RequestFactory;
use super::pool_factory::PoolRequestFactory;

/// The types of object that have a factory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// A pool.
    Pool,
}

/// The factory of a type of object.
pub fn factory(object_type: ObjectType) -> &'static dyn RequestFactory {
    match object_type {
        ObjectType::Pool => &PoolRequestFactory,
    }
}
