//! The REST API: Calamari's contract on Kubernetes objects.
//!
//! ```text
//!  call ─► admit: who is it (TokenReview), is it his turn ─► handler ─► may he (SubjectAccessReview)
//!                                                              │
//!                                            reads: views, pools and requests in memory
//!                                            changes: CephPool and CephRequest objects ─► 202 and a request ID
//! ```
//!
//! It runs on every replica, also on those that do not lead: what it writes are objects, as any user of Kubernetes
//! would, and what it reads every replica has. It knows nothing that another replica lacks, but for answers of the API
//! server that it keeps for some seconds.
//!
//! * `problem`, `paging`, `access`, `certificate`, `shapes`, `defaults`: what is said and decided; pure
//! * `live`: how far a request is that has not ended; pure
//! * `attributes`, `bodies`, `merge`, `naming`, `ids`: what a change is, as an object and as a request; pure
//! * `answer`, `input`: problems and bodies as HTTP
//! * `admit`, `sending`: what is around every call, from its first word to the last of its answer
//! * `caller`: who calls, and what he may do
//! * `shim`, `memory`: what all calls share
//! * `clusters`, `pools`, `requests`, `about`: the calls
//! * `create`, `change`, `remove`, `cancel`: the calls that change something
//! * `objects`, `writes`, `ticket`: the objects that they find and write, and the requests that they become
//! * `router`, `openapi`: where they are, and the document that says so
//! * `serve`, `accept`, `tls`: the server

pub mod about;
pub mod accept;
pub mod access;
pub mod admit;
pub mod answer;
pub mod attributes;
pub mod bodies;
pub mod caller;
pub mod cancel;
pub mod certificate;
pub mod change;
pub mod clusters;
pub mod create;
pub mod defaults;
pub mod ids;
pub mod input;
pub mod live;
pub mod memory;
pub mod merge;
pub mod naming;
pub mod objects;
pub mod openapi;
pub mod paging;
pub mod pools;
pub mod problem;
pub mod remove;
pub mod requests;
pub mod router;
pub mod sending;
pub mod serve;
pub mod shapes;
pub mod shim;
pub mod ticket;
pub mod tls;
pub mod writes;

#[cfg(test)]
mod tests;
