//! What lists and removes things, and captures nothing: `-D`, `--cleanup`.

use super::{
    error::RunError,
    interfaces,
    standard::{say, standard_output, write_all},
};
use crate::{
    config,
    kernel::{self, Interface, NetworkNamespace},
};

/// `-D`: the interfaces, one a line, of each of the namespaces.
pub(super) fn list_interfaces(asked: &[config::Namespace]) -> Result<(), RunError> {
    let namespaces = interfaces::namespaces(asked)?;
    let mut text = if namespaces.is_empty() { listed_interfaces("")? } else { String::new() };
    for namespace in namespaces {
        let prefix = format!("{}/", namespace.name());
        text.push_str(&interfaces::within(&namespace, || listed_interfaces(&prefix))?);
    }
    write_all(standard_output()?, &text)
}

/// `--cleanup`: says what has been removed.
pub(super) fn clean_up(asked: &[config::Namespace]) -> Result<(), RunError> {
    let namespaces = interfaces::namespaces(asked)?;
    let mut done = if namespaces.is_empty() { kernel::clean_up()? } else { Vec::new() };
    for namespace in &namespaces {
        done.extend(interfaces::within(namespace, || Ok(kernel::clean_up()?))?);
    }
    if done.is_empty() {
        const NOTHING: &str = "no filter of a capture that was killed is on any interface in";
        let names: Vec<&str> = namespaces.iter().map(NetworkNamespace::name).collect();
        done.push(match names.as_slice() {
            [] => format!("{NOTHING} this network namespace; to look into another one, add --netns"),
            [name] => format!("{NOTHING} network namespace {name}"),
            names => format!("{NOTHING} the network namespaces {}", names.join(", ")),
        });
    }
    done.iter().for_each(|sentence| say(&format!("capture: {sentence}\n")));
    Ok(())
}

/// The interfaces, one a line, in tcpdump's form. The order is that of their indices, which does not change as
/// interfaces come up and go down; tcpdump has those that are up first.
fn listed_interfaces(prefix: &str) -> Result<String, RunError> {
    let mut text = String::new();
    for (number, interface) in (1..).zip(Interface::list()?) {
        let words = [
            (interface.is_up(), "Up"),
            (interface.is_running(), "Running"),
            (interface.is_loopback(), "Loopback"),
        ];
        let words: Vec<&str> = words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
        let words = if words.is_empty() { String::new() } else { format!(" [{}]", words.join(", ")) };
        text.push_str(&format!("{number}.{prefix}{interface}{words}\n"));
    }
    Ok(text)
}
