//! How this program is called when it is not called by a person.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use crate::network::dhcp_event;
use crate::{first_stage, second_stage};

/// What the kernel, the first stage or udhcpc start this program for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The kernel has started it in the initial RAM file system.
    FirstStage,
    /// The first stage has started it in the card's system.
    SecondStage,
    /// udhcpc tells of an event.
    DhcpEvent(String),
}

impl Entry {
    /// Looks at how this process was started; `None` for everything that has a command line for
    /// people. The agent may be the first process of a container without being init: the name
    /// counts, too.
    #[must_use]
    pub fn find(pid: u32, arguments: &[String]) -> Option<Self> {
        let program = Path::new(arguments.first()?).file_name()?.to_str()?;
        let first = arguments.get(1).map(String::as_str);
        match (program, pid) {
            ("init", 1) if first == Some("system") => Some(Self::SecondStage),
            ("init", 1) => Some(Self::FirstStage),
            ("dhcp-event", _) => Some(Self::DhcpEvent(first.unwrap_or_default().to_owned())),
            _ => None,
        }
    }

    /// Does it. The stages do not return.
    pub fn run(self) -> ExitCode {
        match self {
            Self::FirstStage => first_stage::run(),
            Self::SecondStage => second_stage::run(),
            Self::DhcpEvent(event) => {
                let environment: BTreeMap<String, String> = std::env::vars_os()
                    .filter_map(|(name, value)| {
                        Some((name.into_string().ok()?, value.into_string().ok()?))
                    })
                    .collect();
                if dhcp_event::handle(&event, &environment) {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_named_init_is_init() {
        let find = |pid, arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
            Entry::find(pid, &arguments)
        };
        assert_eq!(find(1, &["/init"]), Some(Entry::FirstStage));
        assert_eq!(find(1, &["init", "splash"]), Some(Entry::FirstStage));
        assert_eq!(find(1, &["init", "system"]), Some(Entry::SecondStage));
        assert_eq!(find(7, &["init", "system"]), None);
        assert_eq!(find(1, &["/usr/bin/bramble-agent", "run"]), None);
        let bound = Some(Entry::DhcpEvent("bound".to_owned()));
        assert_eq!(find(99, &["/run/bramble-init/dhcp-event", "bound"]), bound);
        assert_eq!(find(1, &[]), None);
    }
}
