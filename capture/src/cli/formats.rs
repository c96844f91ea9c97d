//! Options that come from the [table of formats](crate::output::FORMATS): the help of each is in the format's own file.

use std::path::PathBuf;

use clap::{
    Arg, ArgMatches, Args, Command, Error, FromArgMatches,
    builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::output::{
    FORMATS,
    format::{Format, Request},
};

/// The heading of the help.
pub(super) const OUTPUTS: &str = "Where packets go";

/// Formats with an option of their own, `--NAME` or `--NAME=FILE`, that are asked for, and where to; `-` is standard output.
#[derive(Clone, Debug, Default)]
pub struct ByName(pub Vec<(&'static Format, PathBuf)>);

fn asked(how: Request) -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().copied().filter(move |format| format.asked == how)
}

/// What `--format` takes: the formats of the file of `-w`.
pub(super) fn of_file() -> impl TypedValueParser<Value = &'static Format> {
    let value = |format: &Format| PossibleValue::new(format.name).help(format.help);
    PossibleValuesParser::new(asked(Request::OfFile).map(value)).try_map(|name| {
        let found = asked(Request::OfFile).find(|format| format.name == name);
        found.ok_or_else(|| format!("`{name}` is not a format"))
    })
}

impl Args for ByName {
    fn augment_args(command: Command) -> Command {
        command.args(asked(Request::ByName).map(|format| {
            Arg::new(format.name)
                .long(format.name)
                .help(format.help)
                .help_heading(OUTPUTS)
                .value_name("FILE")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("-")
                .value_parser(OsStringValueParser::new().map(PathBuf::from))
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ByName {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let path = |format: &'static Format| Some((format, matches.get_one::<PathBuf>(format.name)?.clone()));
        Ok(Self(asked(Request::ByName).filter_map(path).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
