//! `punte pki`: keys and certificates for trying out.

use super::{exit, output};
use crate::{
    adapter::dev_agencies,
    domain::AgencyName,
    trust::{
        Algorithm,
        dev_pki::{self, DevAgency},
    },
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  punte pki dev --out config/secrets
  punte pki dev --out /tmp/pki --agency civil-registry --agency legal-events")]
pub struct Pki {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a throw-away PKI: authorities, offices, the gateway, and both sides of each agency
    Dev(Dev),
}

#[derive(Args)]
struct Dev {
    /// Where the files go; the folder must be empty or not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Agencies to make keys for; without it, all that have a folder
    #[arg(long = "agency", value_name = "NAME")]
    agencies: Vec<AgencyName>,
    /// The folder of the agencies: their profiles say which kind of key signs messages
    #[arg(long, value_name = "FOLDER", default_value = "adapters")]
    adapters: PathBuf,
    /// Sign messages with P-256 keys, whatever the profiles say
    #[arg(long)]
    ecdsa: bool,
}

impl Dev {
    fn agencies(&self) -> Result<Vec<DevAgency>, String> {
        let known = match dev_agencies(&self.adapters) {
            Ok(known) => known,
            Err(_) if !self.agencies.is_empty() => Vec::new(),
            Err(error) => {
                let folder = self.adapters.display();
                return Err(format!("{folder}: {error}; name the folder with --adapters, or agencies with --agency"));
            }
        };
        let signing = |name: &str| known.iter().find(|agency| agency.name == name).map(|agency| agency.signing);
        let rsa = Algorithm::RsaSha256;
        let named = self.agencies.iter().map(AgencyName::as_str);
        let named = named.map(|name| DevAgency { name: name.into(), signing: signing(name).unwrap_or(rsa) }).collect();
        let mut agencies = if self.agencies.is_empty() { known } else { named };
        if self.ecdsa {
            agencies.iter_mut().for_each(|agency| agency.signing = Algorithm::EcdsaSha256);
        }
        Ok(agencies)
    }
}

impl Pki {
    pub fn run(self) -> u8 {
        let What::Dev(dev) = self.what;
        let is_used = std::fs::read_dir(&dev.out).is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            output::aside(format_args!("punte: {} is not empty; name a new folder", dev.out.display()));
            return exit::FAILED;
        }
        let made = dev.agencies().and_then(|agencies| {
            dev_pki::make(&dev.out, &agencies, jiff::Timestamp::now()).map_err(|error| error.to_string())
        });
        match made {
            Ok(_) => {
                output::line(format_args!("{}: for trying out only, never for real data", dev.out.display()));
                exit::DONE
            }
            Err(error) => {
                output::aside(format_args!("punte: {error}"));
                exit::FAILED
            }
        }
    }
}
