//! The argument with which a subcommand is told which roles a process plays; the roles go out, each once.

use crate::process::Role;
use clap::{ValueEnum, builder::PossibleValue};

#[derive(clap::Args, Clone)]
pub struct WantedRoles {
    /// What the process does; may be given more than once, and is everything if it is left out
    #[arg(long = "role", value_enum)]
    roles: Vec<RoleName>,
}

/// A role as the command line may name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RoleName {
    Present(Role),
    /// The notifier's name in earlier releases: unit files and scripts of theirs still have it.
    Courier,
}

impl ValueEnum for RoleName {
    fn value_variants<'a>() -> &'a [Self] {
        use RoleName::{Courier, Present};
        const { &[Present(Role::Gateway), Present(Role::Worker), Present(Role::Scheduler), Present(Role::Notifier), Courier] }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            RoleName::Present(role) => role.to_possible_value(),
            RoleName::Courier => Some(PossibleValue::new("courier").hide(true)),
        }
    }
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            RoleName::Present(role) => role,
            RoleName::Courier => Role::Notifier,
        }
    }
}

impl WantedRoles {
    pub fn listed(&self) -> Vec<Role> {
        let is_wanted = |role: &Role| self.roles.is_empty() || self.roles.iter().any(|name| name.role() == *role);
        Role::ALL.into_iter().filter(is_wanted).collect()
    }

    /// What whoever wrote the command should know.
    pub fn warning(&self) -> Option<&'static str> {
        let text = "--role courier: this role is named notifier now; the old name is still taken, and will not always be: \
                    write --role notifier (with systemd, enable punte@notifier in the place of punte@courier)";
        self.roles.contains(&RoleName::Courier).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_can_be_named_and_only_the_old_name_of_the_notifier_is_hidden() {
        let names: Vec<_> = RoleName::value_variants().iter().map(|name| name.to_possible_value().unwrap()).collect();
        let shown: Vec<_> = names.iter().filter(|name| !name.is_hide_set()).map(PossibleValue::get_name).collect();
        assert_eq!(shown, ["gateway", "worker", "scheduler", "notifier"]);
        assert_eq!(shown.len(), Role::ALL.len());
        let wanted = WantedRoles { roles: vec![RoleName::Courier, RoleName::Present(Role::Notifier)] };
        assert_eq!(wanted.listed(), [Role::Notifier]);
    }
}
