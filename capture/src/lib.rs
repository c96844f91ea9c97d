//! `capture`: a packet tracer for production Linux servers.
//!
//! The way of a packet: [`kernel`] takes records out of the rings and gives each as a [`packet`]; [`text`] makes it
//! lines; [`writer`] writes them. [`run`] holds it together, as [`config`] says, which is made from [`cli`].

#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod explain;
pub mod kernel;
pub mod packet;
pub mod ports;
pub mod resolve;
pub mod run;
pub mod source;
pub mod summary;
pub mod text;
pub mod writer;
