//! The argument with which a subcommand is told which roles a process plays; the roles go out, each once.

use crate::process::Role;

#[derive(clap::Args, Clone)]
pub struct WantedRoles {
    /// What the process does; may be given more than once, and is everything if it is left out
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
}

impl WantedRoles {
    pub fn listed(&self) -> Vec<Role> {
        let is_wanted = |role: &Role| self.roles.is_empty() || self.roles.contains(role);
        Role::ALL.into_iter().filter(is_wanted).collect()
    }
}
