//! The properties of the repository as a whole.

mod layers;
