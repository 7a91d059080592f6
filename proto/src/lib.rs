//! The wire: what clients and nodes say to each other, generated from `collector/v1/*.proto`.
//!
//! The `.proto` files are the documentation; their comments are repeated on the types here.

mod text;

/// Package `collector.v1`.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    tonic::include_proto!("collector.v1");
}

/// The encoded `FileDescriptorSet` of everything here, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
